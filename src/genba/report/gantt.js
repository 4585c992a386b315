// Draws two plans over one time axis from the JSON in the page; zooms, moves, and finds an order in both.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const LEFT = 64, TOP = 6, ROW = 22, AXIS = 22, HOUR = 3600, DAY = 86400;
  const SPACE = "http://www.w3.org/2000/svg";
  const told = document.getElementById("told"), list = document.getElementById("moves");
  const all = [...data.before, ...data.after];
  const whole = [Math.min(...all.map(o => o[2])), Math.max(...all.map(o => o[3]))];
  let shown = [Math.max(whole[0], data.now - 2 * HOUR), whole[1]], chosen = null;

  const make = (name, facts, parent) => {
    const node = document.createElementNS(SPACE, name);
    for (const [key, value] of Object.entries(facts)) node.setAttribute(key, value);
    parent.append(node);
    return node;
  };
  const clock = t => `day ${Math.floor(t / DAY) + 1}, ${String(Math.floor(t % DAY / HOUR)).padStart(2, "0")}:${String(Math.floor(t % HOUR / 60)).padStart(2, "0")}`;
  const describe = o => `${o[0]}: ${clock(o[2])} to ${clock(o[3])} on ${data.lines[o[1]]}, family ${o[4]}, weight ${o[6]}, due ${clock(o[5])}` + (o[3] > o[5] ? `, ${((o[3] - o[5]) / HOUR).toFixed(1)} h late` : "");

  function draw(id, orders) {
    const box = document.getElementById(id), width = box.clientWidth || 1000;
    const height = TOP + ROW * data.lines.length + AXIS, [from, to] = shown;
    const x = t => LEFT + (t - from) / (to - from) * (width - LEFT - 8);
    box.replaceChildren();
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `Plan ${id}` }, box);
    const hours = [1, 2, 4, 6, 12, 24, 48, 96, 168].find(h => (to - from) / HOUR / h < width / 90) || 336;
    for (let t = Math.ceil(from / HOUR / hours) * hours * HOUR; t < to; t += hours * HOUR) {
      make("line", { class: "grid", x1: x(t), x2: x(t), y1: TOP, y2: height - AXIS }, svg);
      make("text", { x: x(t), y: height - 7, "text-anchor": "middle" }, svg).textContent = hours < 24 ? clock(t).replace("day ", "d") : `day ${t / DAY + 1}`;
    }
    const bars = make("svg", { x: LEFT, y: 0, width: width - LEFT - 8, height, overflow: "hidden" }, svg);
    const place = t => x(t) - LEFT;
    data.lines.forEach((name, m) => {
      make("text", { x: LEFT - 8, y: TOP + ROW * (m + .68), "text-anchor": "end" }, svg).textContent = name;
      if (id === "after" && data.down[m] > data.now) {
        make("rect", { class: "down", x: place(data.now), y: TOP + ROW * m, width: Math.max(0, place(data.down[m]) - place(data.now)), height: ROW }, bars);
      }
    });
    for (const o of orders) {
      if (o[3] < from || o[2] > to) continue;
      const w = Math.max(1, place(o[3]) - place(o[2])), y = TOP + ROW * o[1] + 2;
      const moved = o[0] in data.moved, dim = chosen !== null && chosen !== o[0];
      const bar = make("rect", { class: `bar${moved ? " moved" : ""}${dim ? " dim" : ""}`, x: place(o[2]), y, width: w, height: ROW - 4, rx: 2, "data-order": o[0] }, bars);
      bar.style.fill = `hsl(${(o[4] * 360 / data.families + 20) % 360} 45% var(--light))`;
      make("title", {}, bar).textContent = describe(o);
      if (o[3] > o[5]) make("rect", { class: "late", x: place(o[2]), y: y + ROW - 7, width: w, height: 3 }, bars);
    }
    make("line", { class: "now", x1: place(data.now), x2: place(data.now), y1: 0, y2: height - AXIS }, bars);
  }

  function redraw() {
    draw("before", data.before);
    draw("after", data.after);
    for (const item of list.children) item.classList.toggle("chosen", item.dataset.order === chosen);
  }
  function choose(order) {
    chosen = order === chosen ? null : order;
    const found = data.after.find(o => o[0] === chosen);
    told.textContent = chosen === null ? "" : data.moved[chosen] || `${describe(found)}; it has not moved.`;
    redraw();
  }

  for (const box of document.querySelectorAll(".chart")) {
    let drag = null;
    const at = event => shown[0] + (event.clientX - box.getBoundingClientRect().left - LEFT) / (box.clientWidth - LEFT - 8) * (shown[1] - shown[0]);
    box.addEventListener("wheel", event => {
      event.preventDefault();
      const t = at(event), factor = Math.exp(event.deltaY / 500);
      shown = [t - (t - shown[0]) * factor, t + (shown[1] - t) * factor];
      if (shown[1] - shown[0] < HOUR) shown[1] = shown[0] + HOUR;
      redraw();
    }, { passive: false });
    box.addEventListener("pointerdown", event => { drag = { x: event.clientX, shown, far: false }; });
    box.addEventListener("pointermove", event => {
      if (drag === null) return;
      const shift = (event.clientX - drag.x) / (box.clientWidth - LEFT - 8) * (drag.shown[1] - drag.shown[0]);
      drag.far ||= Math.abs(event.clientX - drag.x) > 4;
      if (drag.far) { shown = drag.shown.map(t => t - shift); redraw(); }
    });
    box.addEventListener("pointerup", event => {
      const order = event.target.dataset ? event.target.dataset.order : undefined;
      if (drag !== null && !drag.far && order) choose(order);
      drag = null;
    });
    box.addEventListener("pointerleave", () => { drag = null; });
  }
  list.addEventListener("click", event => {
    const item = event.target.closest("li[data-order]");
    if (item) choose(item.dataset.order);
  });
  document.getElementById("filter").addEventListener("input", event => {
    const word = event.target.value.toLowerCase();
    for (const item of list.children) item.hidden = !item.textContent.toLowerCase().includes(word);
  });
  document.getElementById("whole").addEventListener("click", () => { shown = [...whole]; redraw(); });
  document.getElementById("free").addEventListener("click", () => { shown = [data.now - HOUR, whole[1]]; redraw(); });
  addEventListener("resize", redraw);
  redraw();
})();
