// The drawing board of the playground: a picture drawn by pointer or keys, or read from a file, and
// encoded as the model takes it.

const EDGE = 280;
const PEN = 22;
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Drawing {
  constructor(canvas, cursor, submit) {
    this.canvas = canvas;
    this.cursor = cursor;
    this.pen = canvas.getContext("2d", { willReadFrequently: true });
    this.place = { x: EDGE / 2, y: EDGE / 2 };
    this.clear();
    this.showCursor();
    this.listen(submit);
  }

  clear() { this.pen.fillStyle = "#000"; this.pen.fillRect(0, 0, EDGE, EDGE); }

  showCursor() {
    this.cursor.style.left = `${100 * this.place.x / EDGE}%`;
    this.cursor.style.top = `${100 * this.place.y / EDGE}%`;
  }

  // Show the board in the proportions of the model's pictures.
  fit([height, width]) {
    const longest = Math.max(height, width);
    this.canvas.parentElement.style.width = `${EDGE * width / longest}px`;
    this.canvas.parentElement.style.height = `${EDGE * height / longest}px`;
  }

  dot({ x, y }) { this.pen.fillStyle = "#fff"; this.pen.beginPath(); this.pen.arc(x, y, PEN / 2, 0, 7); this.pen.fill(); }

  line(from, to) {
    Object.assign(this.pen, { strokeStyle: "#fff", lineWidth: PEN, lineCap: "round" });
    this.pen.beginPath(); this.pen.moveTo(from.x, from.y); this.pen.lineTo(to.x, to.y); this.pen.stroke();
  }

  listen(submit) {
    const find = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return { x: (event.clientX - box.left) * EDGE / box.width, y: (event.clientY - box.top) * EDGE / box.height };
    };
    let last = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId); last = find(event); this.dot(last);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (last) { const next = find(event); this.line(last, next); last = next; }
    });
    this.canvas.addEventListener("pointerup", () => { last = null; });
    let isDrawing = false;
    this.canvas.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { submit(); return; }
      if (event.key === " ") { isDrawing = true; this.dot(this.place); event.preventDefault(); }
      const step = STEPS[event.key];
      if (!step) return;
      event.preventDefault();
      const from = { ...this.place };
      const move = (value, by) => Math.min(EDGE - 5, Math.max(5, value + 14 * by));
      this.place = { x: move(from.x, step[0]), y: move(from.y, step[1]) };
      this.showCursor();
      if (isDrawing) this.line(from, this.place);
    });
    this.canvas.addEventListener("keyup", (event) => { if (event.key === " ") isDrawing = false; });
  }

  // Show the middle of a picture: as much as fits the proportions of the model's pictures.
  async load(file, [height, width]) {
    const picture = await createImageBitmap(file);
    const scale = Math.min(picture.width / width, picture.height / height);
    const [across, down] = [width * scale, height * scale];
    this.clear();
    this.pen.drawImage(picture, (picture.width - across) / 2, (picture.height - down) / 2, across, down, 0, 0, EDGE, EDGE);
  }

  // Halve first to keep thin lines: the browser's own scaling reads only four pixels.
  shrink(width, height) {
    let source = this.canvas;
    let size = EDGE;
    while (size / 2 > Math.max(width, height)) {
      const half = Object.assign(document.createElement("canvas"), { width: size / 2, height: size / 2 });
      half.getContext("2d").drawImage(source, 0, 0, size / 2, size / 2);
      source = half;
      size /= 2;
    }
    const small = Object.assign(document.createElement("canvas"), { width, height });
    small.getContext("2d", { willReadFrequently: true }).drawImage(source, 0, 0, width, height);
    return small;
  }

  // Return the picture in a content type, for a model of a shape: [height, width, channels].
  async encode(type, [height, width, channels], isInverted) {
    const small = this.shrink(width, height);
    const brush = small.getContext("2d");
    const data = brush.getImageData(0, 0, width, height);
    const pixels = [];
    for (let index = 0; index < data.data.length; index += 4) {
      const [red, green, blue] = data.data.slice(index, index + 3).map((value) => (isInverted ? 255 - value : value));
      const grey = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
      const shown = channels === 1 ? [grey, grey, grey] : [red, green, blue];
      data.data.set(shown, index);
      pixels.push(shown.slice(0, channels));
    }
    if (type === "text/csv") return pixels.flat().join(",");
    if (type === "application/json") {
      const rows = Array.from({ length: height }, (_, row) => pixels.slice(row * width, (row + 1) * width));
      return JSON.stringify({ instances: [rows] });
    }
    brush.putImageData(data, 0, 0);
    return new Promise((resolve) => small.toBlob(resolve, "image/png"));
  }
}
