// Pointer and keys move, size, add and take out boxes; the value holds them in photograph pixels.
const now = () => props.value;
const put = (boxes, chosen) => { props.value = { ...now(), boxes, chosen }; };
const at = (event) => {
  const svg = element.querySelector("svg");
  const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  return [p.x, p.y];
};
const typical = () => {
  const sides = now().boxes.map((b) => b[2]).sort((a, b) => a - b);
  return sides.length ? sides[Math.floor(sides.length / 2)] : now().width / 12;
};
const add = (x, y) => {
  const side = typical();
  const left = Math.min(Math.max(0, x - side / 2), now().width - side);
  const top = Math.min(Math.max(0, y - side / 2), now().height - side);
  put([...now().boxes, [left, top, side, side]], now().boxes.length);
};
const take = (i) => put(now().boxes.filter((_, k) => k !== i), -1);
const change = (i, dx, dy, size) => {
  const boxes = now().boxes.map((b, k) => {
    if (k !== i) return b;
    if (size) return [b[0], b[1], Math.max(4, b[2] + dx), Math.max(4, b[3] + dy)];
    return [b[0] + dx, b[1] + dy, b[2], b[3]];
  });
  put(boxes, i);
};
let held = null;
element.addEventListener("pointerdown", (event) => {
  const group = event.target.closest("g[data-i]");
  if (!group) return;
  event.preventDefault();
  const i = Number(group.dataset.i);
  held = { i, size: event.target.tagName === "circle", from: at(event), box: [...now().boxes[i]], group };
});
element.addEventListener("pointermove", (event) => {
  if (!held) return;
  event.preventDefault();
  const [x, y] = at(event);
  const [dx, dy] = [x - held.from[0], y - held.from[1]];
  const b = held.box;
  held.now = held.size
    ? [b[0], b[1], Math.max(4, b[2] + dx), Math.max(4, b[3] + dy)]
    : [b[0] + dx, b[1] + dy, b[2], b[3]];
  const rect = held.group.querySelector("rect");
  ["x", "y", "width", "height"].forEach((name, k) => rect.setAttribute(name, held.now[k]));
  const circle = held.group.querySelector("circle");
  circle.setAttribute("cx", held.now[0] + held.now[2]);
  circle.setAttribute("cy", held.now[1] + held.now[3]);
});
const release = () => {
  if (!held) return;
  const { i, now: moved } = held;
  held = null;
  put(now().boxes.map((b, k) => (k === i && moved ? moved : b)), i);
};
element.addEventListener("pointerup", release);
element.addEventListener("pointerleave", release);
element.addEventListener("dblclick", (event) => {
  if (!event.target.closest("g[data-i]")) add(...at(event));
});
element.addEventListener("keydown", (event) => {
  const group = event.target.closest("g[data-i]");
  const i = group ? Number(group.dataset.i) : now().chosen;
  const step = now().width / 200;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (event.key.toLowerCase() === "n") add(now().width / 2, now().height / 2);
  else if (i < 0) return;
  else if (event.key === "Delete" || event.key === "Backspace") take(i);
  else if (moves[event.key]) change(i, ...moves[event.key], event.shiftKey);
  else return;
  event.preventDefault();
  event.stopPropagation();
  setTimeout(() => {
    const again = element.querySelector(`g[data-i='${now().chosen}']`) || element.querySelector("svg");
    if (again) again.focus();
  }, 30);
});
