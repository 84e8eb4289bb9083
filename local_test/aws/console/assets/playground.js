// The playground: a form that fits the endpoint, the last requests, and each of them as code.

import { indent, show, showPicture, showRefusal } from "./answers.js";
import { Drawing } from "./drawing.js";
import { listHeaders, nameFile, needsFile, WRITERS } from "./snippets.js";

const KEPT = 10;
const KEPT_CHARACTERS = 100000;
const find = (id) => document.getElementById(id);
const page = find("playground");
const form = JSON.parse(page.dataset.form);
const key = `playground ${form.account} ${form.endpoint} ${form.component}`;
const drawing = new Drawing(find("canvas"), find("cursor"), () => page.requestSubmit());
let request = null;  // the last one that was sent

function choose(kind) {
  for (const input of page.elements.kind) input.checked = input.value === kind;
  for (const name of ["picture", "text", "file"]) find(`panel-${name}`).hidden = name !== kind;
  find("type-field").hidden = kind === "picture";
}

function prepare() {
  const [height, width, channels] = form.shape || [28, 28, 1];
  find("height").value = height;
  find("width").value = width;
  find("channels").value = channels;
  drawing.fit([height, width]);
  const example = form.examples.find((item) => item.text !== null);
  find("type").value = example?.type || form.types[0] || "text/csv";
  find("accept").value = example?.accept || form.accepts[0] || "application/json";
  find("body").value = example?.text || "";
  const takesPictures = form.shape || form.examples[0]?.type.startsWith("image/");
  choose(takesPictures && !example ? "picture" : "text");
}

function readShape() { return ["height", "width", "channels"].map((id) => Math.max(1, Number(find(id).value) || 1)); }

async function read() {
  const kind = page.elements.kind.value;
  const common = { accept: find("accept").value.trim(), model: find("model")?.value.trim() || "", component: form.component };
  if (kind === "picture") {
    const type = find("format").value;
    return { ...common, type, body: await drawing.encode(type, readShape(), find("invert").checked) };
  }
  const type = find("type").value.trim();
  if (kind === "text") return { ...common, type, body: find("body").value };
  const file = find("file").files[0];
  if (!file) throw new Error("Choose a file first.");
  return { ...common, type, body: file };
}

const describe = (body) => (typeof body === "string" ? body.slice(0, 6000) : `(${body.size} bytes)`);

function showRequest() {
  const lines = listHeaders(request).map(([name, value]) => `${name}: ${value}\n`).join("");
  find("request").textContent = `POST /endpoints/${form.endpoint}/invocations\n${lines}\n${describe(request.body)}`;
  find("code").hidden = true;
  find("save").hidden = true;
  find("sent").hidden = false;
}

async function send() {
  // Without these two a browser sends types of its own.
  const headers = { "Content-Type": "", Accept: "", ...Object.fromEntries(listHeaders(request)) };
  headers["X-Local-Console"] = document.querySelector("meta[name=session]").content;
  const started = performance.now();
  const response = await fetch(`/console/invoke/${form.endpoint}`, { method: "POST", body: request.body, headers });
  const blob = await response.blob();
  const took = (performance.now() - started).toFixed(1);
  const type = response.headers.get("Content-Type") || "";
  const isPicture = response.ok && type.startsWith("image/");
  const text = isPicture ? describe(blob) : await blob.text();
  find("response").textContent = `HTTP ${response.status}, ${took} ms\nContent-Type: ${type}\n\n${indent(text, response.ok ? "" : type).slice(0, 6000)}`;
  if (!response.ok) showRefusal(find("bars"), response.status, text);
  else if (isPicture) showPicture(find("bars"), blob);
  else show(find("bars"), text, type);
  return response.status;
}

// The last requests stay in this browser. A body that is large or not text is not kept.
function load() { try { return JSON.parse(localStorage.getItem(key)) || []; } catch { return []; } }

function keep(status) {
  const isKept = typeof request.body === "string" && request.body.length <= KEPT_CHARACTERS;
  const entry = { ...request, body: isKept ? request.body : null, note: describe(request.body).slice(0, 80), status, time: Date.now() };
  const others = load().filter((item) => JSON.stringify([item.type, item.accept, item.model, item.note]) !== JSON.stringify([entry.type, entry.accept, entry.model, entry.note]));
  try { localStorage.setItem(key, JSON.stringify([entry, ...others].slice(0, KEPT))); } catch { /* the browser keeps nothing */ }
  showHistory();
}

function showHistory() {
  const rows = load().map((entry) => {
    const row = document.createElement("li");
    const what = document.createElement("button");
    what.type = "button";
    what.textContent = `${entry.type || "no type"} ${entry.note}`;
    what.disabled = entry.body === null;
    what.addEventListener("click", () => {
      find("type").value = entry.type;
      find("accept").value = entry.accept;
      find("body").value = entry.body;
      if (find("model")) find("model").value = entry.model;
      choose("text");
      find("body").focus();
    });
    const when = document.createElement("span");
    when.className = "quiet";
    when.textContent = `${new Date(entry.time).toTimeString().slice(0, 8)}, HTTP ${entry.status}`;
    row.append(what, when);
    return row;
  });
  find("history").replaceChildren(...rows);
  find("history-section").hidden = !rows.length;
}

async function copy(event) {
  const text = WRITERS[event.target.dataset.code](request, form);
  find("code").textContent = text;
  find("code").hidden = false;
  find("save").hidden = !needsFile(request);
  if (needsFile(request)) {
    find("save").href = URL.createObjectURL(new Blob([request.body]));
    find("save").download = nameFile(request);
    find("save").textContent = `Save the body as ${nameFile(request)}`;
  }
  try {
    await navigator.clipboard.writeText(text);
    find("copied").textContent = "Copied.";
  } catch {
    find("copied").textContent = "The browser does not let this page copy; select the text below.";
  }
}

page.addEventListener("submit", async (event) => {
  event.preventDefault();
  find("copied").textContent = "";
  find("response").textContent = "…";
  try {
    request = await read();
    showRequest();
    keep(await send());
  } catch (error) {
    find("response").textContent = "";
    showRefusal(find("bars"), 0, error.message);
  }
});
for (const input of page.elements.kind) input.addEventListener("change", () => choose(input.value));
find("clear").addEventListener("click", () => drawing.clear());
find("component")?.addEventListener("change", (event) => { location.href = `/console/playground/${form.endpoint}/${event.target.value}`; });
for (const id of ["height", "width"]) find(id).addEventListener("change", () => drawing.fit(readShape()));
find("picture").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  try { if (file) await drawing.load(file, readShape()); } catch { showRefusal(find("bars"), 0, `${file.name} is not a picture that this browser reads.`); }
});
find("file").addEventListener("change", (event) => { if (event.target.files[0]?.type) find("type").value = event.target.files[0].type; });
find("forget").addEventListener("click", () => { localStorage.removeItem(key); showHistory(); });
for (const button of document.querySelectorAll("[data-code]")) button.addEventListener("click", copy);
prepare();
showHistory();
