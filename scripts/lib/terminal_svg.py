"""terminal_svg.py FILE COMMAND...: runs a command on a terminal and draws its last screen as SVG.

The text is in the picture's description too, a line for each line that was printed, for readers who
cannot see it.
"""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

COLUMNS = 100
CELL_WIDTH, CELL_HEIGHT, FONT_SIZE = 8.4, 20, 14
MARGIN, TITLE_BAR = 20, 36
FOREGROUND, BACKGROUND, BAR = "#d6dbe1", "#16191d", "#23282e"
COLOURS = {
    31: "#f2777a", 32: "#8fcf8f", 33: "#f0c674", 34: "#81a2e8", 35: "#c792d6", 36: "#76c7c0",
    90: "#7c858f", 91: "#f2777a", 92: "#8fcf8f", 93: "#f0c674",
}


@dataclass(frozen=True)
class Style:
    colour: str = FOREGROUND
    bold: bool = False
    dim: bool = False

    def after(self, codes):
        """The style after an SGR sequence with these parameters."""
        style = self
        for code in codes:
            if code == 0:
                style = Style()
            elif code == 1:
                style = replace(style, bold=True)
            elif code == 2:
                style = replace(style, dim=True)
            elif code == 22:
                style = replace(style, bold=False, dim=False)
            elif code == 39:
                style = replace(style, colour=FOREGROUND)
            elif code in COLOURS:
                style = replace(style, colour=COLOURS[code])
        return style


def output_of(command):
    """The output of the command on a terminal of our width."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    output = b""
    while True:
        try:
            block = os.read(terminal, 1 << 16)
        except OSError:  # EIO: no process has the other end open
            break
        if not block:
            break
        output += block
    os.waitpid(pid, 0)
    return output.decode()


def lines_of(output):
    """Lines of (character, style), after carriage returns and erased lines."""
    lines, style, column = [[]], Style(), 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|.", output, re.DOTALL):
        if token.startswith("\x1b["):
            if token.endswith("m"):
                style = style.after([int(code or 0) for code in token[2:-1].split(";")])
            elif token.endswith("K"):
                lines[-1] = [] if token == "\x1b[2K" else lines[-1][:column]
        elif token == "\r":
            column = 0
        elif token == "\n":
            lines.append([])
            column = 0
        elif token.isprintable():
            lines[-1] += [(" ", style)] * (column - len(lines[-1]))
            lines[-1][column : column + 1] = [(token, style)]
            column += 1
    return lines if lines[-1] else lines[:-1]


def wrapped(line):
    """Wraps lines as terminals do, but between words, and indents the continuation."""
    rows = []
    while len(line) > COLUMNS:
        text = "".join(character for character, _ in line[: COLUMNS + 1])
        cut = text.rstrip().rfind(" ", 20)
        cut = COLUMNS if cut < 0 else cut + 1
        rows.append(line[:cut])
        line = [(" ", Style())] * 9 + line[cut:]
    return [*rows, line]


def runs(row):
    """The start, text and style of each run of characters in one style."""
    begin = 0
    while begin < len(row):
        style, end = row[begin][1], begin
        while end < len(row) and row[end][1] == style:
            end += 1
        yield begin, "".join(character for character, _ in row[begin:end]), style
        begin = end


def drawn(lines):
    rows = [row for line in lines for row in wrapped(line)]
    width = COLUMNS * CELL_WIDTH + 2 * MARGIN
    height = TITLE_BAR + len(rows) * CELL_HEIGHT + 2 * MARGIN - 8
    description = "\n".join("".join(character for character, _ in line).rstrip() for line in lines)
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" role="img">'
    yield f"<desc>{escape(description)}</desc>"
    yield f'<rect width="{width:.0f}" height="{height}" rx="10" fill="{BACKGROUND}"/>'
    yield f'<path d="M0 {TITLE_BAR}V10a10 10 0 0 1 10-10H{width - 10:.0f}a10 10 0 0 1 10 10V{TITLE_BAR}z" fill="{BAR}"/>'
    for number, colour in enumerate(["#ee6a5f", "#f5bd4f", "#61c454"]):
        yield f'<circle cx="{20 + 20 * number}" cy="{TITLE_BAR / 2:.0f}" r="6" fill="{colour}"/>'
    yield (
        f'<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace" '
        f'font-size="{FONT_SIZE}">'
    )
    for number, row in enumerate(rows):
        y = TITLE_BAR + MARGIN + number * CELL_HEIGHT + 10
        for column, text, style in runs(row):
            # Viewers render multiple spaces differently, so these are not drawn.
            for word in re.finditer(r"\S+(?: \S+)*", text):
                x, length = MARGIN + (column + word.start()) * CELL_WIDTH, len(word[0]) * CELL_WIDTH
                weight = ' font-weight="bold"' if style.bold else ""
                opacity = ' fill-opacity="0.65"' if style.dim else ""
                yield (
                    f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}" fill="{style.colour}"{weight}{opacity}>'
                    f"{escape(word[0])}</text>"
                )
    yield "</g>"
    yield "</svg>"


def main():
    lines = lines_of(output_of(sys.argv[2:]))
    with open(sys.argv[1], "w") as file:
        file.write("\n".join(drawn(lines)) + "\n")


main()
