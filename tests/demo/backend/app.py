"""A tea shop's price list: small, and stateless, so that any worker can answer."""

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

app = FastAPI(title="Tea shop")


class Item(BaseModel):
    id: int
    name: str
    cents: int


class Order(BaseModel):
    item_id: int
    quantity: int = Field(ge=1, le=100)


class Quote(BaseModel):
    item: Item
    quantity: int
    total_cents: int


ITEMS = {
    item.id: item
    for item in [
        Item(id=1, name="Assam", cents=450),
        Item(id=2, name="Sencha", cents=620),
        Item(id=3, name="Rooibos", cents=390),
    ]
}


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/api/items")
def list_items() -> list[Item]:
    return list(ITEMS.values())


@app.get("/api/items/{item_id}")
def get_item(item_id: int) -> Item:
    if item_id not in ITEMS:
        raise HTTPException(status_code=404, detail="no such item")
    return ITEMS[item_id]


@app.post("/api/quotes")
def quote(order: Order) -> Quote:
    item = get_item(order.item_id)
    return Quote(item=item, quantity=order.quantity, total_cents=item.cents * order.quantity)
