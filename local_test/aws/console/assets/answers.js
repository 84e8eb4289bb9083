// An answer as people read it: bars for probabilities, a picture, or text; a refusal as sentences.

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

// The names of classes that the answer holds beside their indices.
function findNames(value, names = {}) {
  if (value && typeof value === "object") {
    if (typeof value.label === "string" && Number.isInteger(value.index)) names[value.index] = value.label;
    for (const item of Object.values(value)) findNames(item, names);
  }
  return names;
}

function parse(text) { try { return JSON.parse(text); } catch { return undefined; } }

function readNumbers(text, type) {
  if (type.includes("json")) return findNumbers(parse(text));
  const numbers = text.trim().split(/[,\s]+/).map(Number);
  return text.trim() && numbers.every(Number.isFinite) ? numbers : null;
}

function make(tag, text, name = "") {
  return Object.assign(document.createElement(tag), { textContent: text, className: name });
}

function makeBars(numbers, names) {
  const best = numbers.indexOf(Math.max(...numbers));
  return numbers.slice(0, 200).map((number, index) => {
    const row = make("div", "", index === best ? "bar best" : "bar");
    const meter = Object.assign(document.createElement("meter"), { min: 0, max: Math.max(1, ...numbers), value: number });
    meter.setAttribute("aria-label", `class ${names[index] ?? index}`);
    row.append(make("b", names[index] ?? index), meter, make("span", number.toFixed(4)));
    return row;
  });
}

export function indent(text, type) {
  const document = type.includes("json") ? parse(text) : undefined;
  return document === undefined ? text : JSON.stringify(document, null, 2);
}

export function show(place, text, type) {
  const numbers = readNumbers(text, type);
  const isProbable = numbers && numbers.length > 1 && numbers.every((number) => number >= 0 && number <= 1);
  place.replaceChildren(...(isProbable ? makeBars(numbers, findNames(parse(text))) : [make("pre", indent(text, type).slice(0, 6000) || "The answer is empty.")]));
}

export function showPicture(place, blob) {
  const picture = make("img", "", "answer");
  picture.alt = "The answer's picture";
  picture.src = URL.createObjectURL(blob);
  place.replaceChildren(picture);
}

// Containers often answer errors in JSON, with the sentence in one of these members.
function findSentence(text) {
  const document = parse(text);
  if (!document || typeof document !== "object") return text;
  const found = ["error", "message", "detail", "Message"].map((name) => document[name]).find(Boolean);
  if (found === undefined) return JSON.stringify(document, null, 2);
  return typeof found === "string" ? found : JSON.stringify(found, null, 2);
}

export function showRefusal(place, status, text) {
  const document = parse(text);
  const isOurs = document && typeof document === "object" && typeof document.message === "string";
  const original = isOurs ? document.OriginalMessage : undefined;
  const model = isOurs && document.OriginalStatusCode ? `the model answered ${document.OriginalStatusCode}` : "the model did not answer";
  const by = original === undefined ? `refused with HTTP ${status}` : model;
  const box = make("div", "", "failure");
  box.setAttribute("role", "alert");
  const head = isOurs ? `${document.code}: ${by}` : by;
  const sentence = document ? findSentence(original || (isOurs ? document.message : text)) : text;
  box.append(make("b", status ? head : "Nothing was sent"), make("p", sentence));
  place.replaceChildren(box);
}
