const price = (cents) => (cents / 100).toFixed(2);

const response = await fetch("/api/items");
const items = await response.json();

document.querySelector("#items").replaceChildren(
  ...items.map(({ name, cents }) => {
    const row = document.createElement("li");
    row.textContent = `${name}: ${price(cents)}`;
    return row;
  }),
);
