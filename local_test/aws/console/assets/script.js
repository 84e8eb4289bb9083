"use strict";

// Fetch a page's live part again and replace it. The log stays where the reader scrolled it to, or at
// its end.
const live = document.getElementById("live");
const scrollToEnd = (log) => { log.scrollTop = log.scrollHeight; };
const isAtEnd = (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 30;
document.querySelectorAll(".log").forEach(scrollToEnd);

async function refresh() {
  const pause = Number(live.dataset.refresh);
  if (!pause) return;
  await new Promise((resolve) => setTimeout(resolve, pause));
  try {
    const response = await fetch(location.href);
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("live");
    if (fresh && fresh.innerHTML !== live.innerHTML && !live.contains(document.activeElement)) {
      const old = live.querySelector(".log");
      const place = old && !isAtEnd(old) ? old.scrollTop : null;
      live.innerHTML = fresh.innerHTML;
      live.dataset.refresh = fresh.dataset.refresh;
      const log = live.querySelector(".log");
      if (log) place === null ? scrollToEnd(log) : (log.scrollTop = place);
    }
  } catch { /* the local AWS is down for a moment; try again */ }
  refresh();
}
if (live) refresh();

const form = document.getElementById("playground");
if (form) {
  const find = (id) => document.getElementById(id);
  const canvas = find("canvas");
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const cursor = { x: 140, y: 140 };
  const showCursor = () => { find("cursor").style.left = `${cursor.x}px`; find("cursor").style.top = `${cursor.y}px`; };

  const clear = () => { pen.fillStyle = "#000"; pen.fillRect(0, 0, 280, 280); };
  const dot = (x, y) => { pen.fillStyle = "#fff"; pen.beginPath(); pen.arc(x, y, 11, 0, 7); pen.fill(); };
  const line = (from, to) => {
    pen.strokeStyle = "#fff"; pen.lineWidth = 22; pen.lineCap = "round";
    pen.beginPath(); pen.moveTo(from.x, from.y); pen.lineTo(to.x, to.y); pen.stroke();
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: (event.clientX - box.left) * 280 / box.width, y: (event.clientY - box.top) * 280 / box.height };
  };
  clear();
  showCursor();

  let last = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId); last = place(event); dot(last.x, last.y);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last) { const next = place(event); line(last, next); last = next; }
  });
  canvas.addEventListener("pointerup", () => { last = null; });

  let isDrawing = false;
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { form.requestSubmit(); return; }
    if (event.key === " ") { isDrawing = true; dot(cursor.x, cursor.y); event.preventDefault(); }
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const from = { ...cursor };
    cursor.x = Math.min(275, Math.max(5, cursor.x + 14 * step[0]));
    cursor.y = Math.min(275, Math.max(5, cursor.y + 14 * step[1]));
    showCursor();
    if (isDrawing) line(from, cursor);
  });
  canvas.addEventListener("keyup", (event) => { if (event.key === " ") isDrawing = false; });

  find("clear").addEventListener("click", clear);
  find("picture").addEventListener("change", async (event) => {
    if (!event.target.files.length) return;
    const picture = await createImageBitmap(event.target.files[0]);
    const edge = Math.min(picture.width, picture.height);
    clear();
    pen.drawImage(picture, (picture.width - edge) / 2, (picture.height - edge) / 2, edge, edge, 0, 0, 280, 280);
  });

  // Halve first to keep thin lines: the browser's own scaling reads only four pixels.
  function shrink(side) {
    let source = canvas;
    let size = 280;
    while (size / 2 > side) {
      const half = Object.assign(document.createElement("canvas"), { width: size / 2, height: size / 2 });
      half.getContext("2d").drawImage(source, 0, 0, size / 2, size / 2);
      source = half;
      size /= 2;
    }
    const small = Object.assign(document.createElement("canvas"), { width: side, height: side });
    const brush = small.getContext("2d", { willReadFrequently: true });
    brush.drawImage(source, 0, 0, side, side);
    const data = brush.getImageData(0, 0, side, side);
    for (let index = 0; index < data.data.length; index += 4) {
      const [red, green, blue] = data.data.slice(index, index + 3);
      const grey = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
      data.data.fill(find("invert").checked ? 255 - grey : grey, index, index + 3);
    }
    brush.putImageData(data, 0, 0);
    return { small, grey: Array.from({ length: side * side }, (_, index) => data.data[4 * index]) };
  }

  async function encode(format, side) {
    const { small, grey } = shrink(side);
    if (format === "image/png") {
      const blob = await new Promise((resolve) => small.toBlob(resolve, "image/png"));
      return { body: blob, shown: `(${blob.size} bytes of PNG, ${side} x ${side})` };
    }
    if (format === "text/csv") { const text = grey.join(","); return { body: text, shown: text }; }
    const rows = Array.from({ length: side }, (_, row) => grey.slice(row * side, (row + 1) * side).map((value) => [value]));
    const text = JSON.stringify({ instances: [rows] });
    return { body: text, shown: text };
  }

  // The first list of numbers in an answer of any shape is shown as the probabilities.
  function findNumbers(value) {
    if (Array.isArray(value)) {
      if (value.length && value.every((item) => typeof item === "number")) return value;
      for (const item of value) { const found = findNumbers(item); if (found) return found; }
    } else if (value && typeof value === "object") {
      for (const item of Object.values(value)) { const found = findNumbers(item); if (found) return found; }
    }
    return null;
  }

  function parseNumbers(text, type) {
    if (type.includes("json")) { try { return findNumbers(JSON.parse(text)); } catch { return null; } }
    const numbers = text.trim().split(/[,\s]+/).map(Number);
    return numbers.length && numbers.every(Number.isFinite) ? numbers : null;
  }

  function showBars(numbers) {
    const bars = find("bars");
    bars.replaceChildren();
    if (!numbers) { bars.textContent = "The answer has no list of numbers; see the raw response."; return; }
    const best = numbers.indexOf(Math.max(...numbers));
    numbers.slice(0, 200).forEach((number, index) => {
      const row = document.createElement("div");
      row.className = index === best ? "bar best" : "bar";
      const name = document.createElement("b");
      name.textContent = index;
      const meter = Object.assign(document.createElement("meter"), { min: 0, max: Math.max(1, ...numbers), value: number });
      meter.setAttribute("aria-label", `class ${index}`);
      const text = document.createElement("span");
      text.textContent = number.toFixed(4);
      row.append(name, meter, text);
      bars.append(row);
    });
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const format = find("format").value;
    const { body, shown } = await encode(format, Number(find("side").value));
    const path = `/endpoints/${form.dataset.endpoint}/invocations`;
    const accept = find("accept").value;
    const session = document.querySelector("meta[name=session]").content;
    const headers = { "Content-Type": format, Accept: accept };
    const component = find("component");
    if (component) headers["X-Amzn-SageMaker-Inference-Component"] = component.value;
    const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\n`).join("");
    find("request").textContent = `POST ${path}\n${head}\n${shown.slice(0, 6000)}`;
    find("response").textContent = "…";
    const started = performance.now();
    try {
      const response = await fetch(`/console/invoke/${form.dataset.endpoint}`, {
        method: "POST", body, headers: { ...headers, "X-Local-Console": session },
      });
      const text = await response.text();
      const type = response.headers.get("Content-Type") || "";
      const took = (performance.now() - started).toFixed(1);
      find("response").textContent = `HTTP ${response.status}, ${took} ms\nContent-Type: ${type}\n\n${text.slice(0, 6000)}`;
      showBars(response.ok ? parseNumbers(text, type) : null);
    } catch (error) {
      find("response").textContent = String(error);
      showBars(null);
    }
  });
}
