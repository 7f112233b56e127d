// Each mode says which wishes its settings make; one function asks for them, and one shows what comes.
const $ = (id) => document.getElementById(id);
let model;
let mode;
const settings = { seed: 0, number: 16, label: "turns", truncation: 1, attributes: [], from: { seed: 0, label: 0 }, to: { seed: 1, label: 0 },
  frames: 9, share: 0.5, columns: 100, first: 0, last: 0, direction: 0, amount: 3, picture: null };

// Asking: one request at a time, and of those that wait the newest alone, so that a slider never queues.
let asking = false, waiting = null;
async function ask(path, body, show) {
  if (asking) { waiting = [path, body, show]; return; }
  asking = true;
  $("stage").setAttribute("aria-busy", "true");
  const began = performance.now();
  try {
    const json = !(body instanceof Blob);
    const answer = await fetch(path, { method: "POST", body: json ? JSON.stringify(body) : body, headers: { "Content-Type": json ? "application/json" : body.type || "application/octet-stream" } });
    const kind = answer.headers.get("Content-Type") || "";
    if (!answer.ok) throw new Error(kind.includes("json") ? (await answer.json()).error : `the server answered ${answer.status}`);
    await show(kind.includes("json") ? await answer.json() : await answer.blob());
    $("error").hidden = true;
    const took = performance.now() - began;
    $("status").textContent = took < 1000 ? `${Math.round(took)} ms` : `${(took / 1000).toFixed(1)} s`;
  } catch (error) {
    $("error").textContent = error instanceof TypeError ? "The server cannot be reached; look at its terminal, and start it again." : `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`;
    $("error").hidden = false;
    $("status").textContent = "";
  } finally {
    asking = false;
    $("stage").removeAttribute("aria-busy");
  }
  if (waiting) { const next = waiting; waiting = null; ask(...next); }
}

// Controls.
let controls = 0;
function labelled(text, control, told) {
  control.id = `control-${(controls += 1)}`;
  return node("div", { class: "field" }, node("div", { class: "told" }, node("label", { for: control.id }, text), told), control);
}
function slider(text, least, most, step, get, set, told = figure, changed = update) {
  const output = node("output", {}, told(get()));
  const input = node("input", { type: "range", min: least, max: most, step, value: get(), input: () => { set(Number(input.value)); output.textContent = told(get()); changed(); } });
  const field = labelled(text, input, output);
  field.renew = () => { input.value = get(); output.textContent = told(get()); };
  return field;
}
function whole_number(text, get, set) {
  const input = node("input", { type: "number", min: 0, max: 4294967295, step: 1, value: get(), input: () => { if (input.value !== "" && input.checkValidity()) { set(Number(input.value)); update(); } } });
  return labelled(text, input);
}
function choice(text, options, get, set) {
  const select = node("select", { change: () => { set(select.value); update(); } }, ...options.map(([value, said]) => node("option", { value }, said)));
  select.value = get();
  return labelled(text, select);
}
const classes = () => model.classes.map((name, index) => [index, name]);
function of_class(text, place) {
  return model.classes.length ? choice(text, classes(), () => place.label, (value) => { place.label = Number(value); }) : null;
}
function place_fields(title, place) {
  const which = place.code
    ? node("button", { type: "button", click: () => { delete place.code; choose(mode); } }, "Projected · use a seed")
    : whole_number("Seed", () => place.seed, (value) => { place.seed = value; });
  return node("fieldset", {}, node("legend", {}, title), which, of_class("Class", place));
}
function one_class() {
  return model.classes.length ? choice("Class", classes(), () => (settings.label === "turns" ? 0 : settings.label), (value) => { settings.label = Number(value); }) : null;
}
function common() {
  const fields = model.latents ? [slider("Truncation", 0, Math.min(1.5, model.largest_truncation), 0.05, () => settings.truncation, (value) => { settings.truncation = value; })] : [];
  if (model.attributes.length) {
    fields.push(node("fieldset", {}, node("legend", {}, "Attributes"), ...model.attributes.map((name, index) =>
      slider(name, -1, 1, 0.05, () => settings.attributes[index], (value) => { settings.attributes[index] = value; }))));
  }
  return fields;
}

// Wishes.
function wish(place, more = {}) {
  const made = { ...place_of(place), truncation: settings.truncation, ...more };
  if (model.attributes.length) made.attributes = settings.attributes;
  return made;
}
const label_of = (index, number) => (settings.label === "turns" ? (number >= model.classes.length ? Math.floor((index * model.classes.length) / number) : index % model.classes.length) : Number(settings.label));
const only_label = () => (settings.label === "turns" ? 0 : Number(settings.label));
function place_of(place) {
  const made = { seed: place.seed };
  if (model.classes.length) made.label = place.label;
  if (place.code) made.code = place.code;
  return made;
}
const seed_after = (seed, index) => (seed + index) % 4294967296;
const attributes_too = (place) => (model.attributes.length ? { ...place, attributes: settings.attributes } : place);

/** The fields of a first place, and the places that follow it: the next seeds of its class. */
const first_of = () => [place_fields("The first", settings.from)];
const place_at = (index) => (index === 0 ? settings.from : { seed: seed_after(settings.from.seed, settings.from.code ? index - 1 : index), label: settings.from.label });

// Large pictures are fewer: rows and columns are as many as one request may have pictures for.
/** Of a square of mixed pictures, with what is mixed at the left and above, and what is typical in the corner. */
const mixing_side = () => Math.min(5, Math.floor(Math.sqrt(model.most)));
const num_steps = () => (model.most < 5 ? 3 : 5);
const numbers = () => [4, 8, 16, 32, 48, 64].filter((number) => number <= model.most);

const MODES = {
  samples: {
    title: "Samples", offered: () => model.latents && !model.input,
    fields() {
      const seed = whole_number("First seed", () => settings.seed, (value) => { settings.seed = value; });
      const step = (by) => () => { settings.seed = Math.max(0, Math.min(4294967295, settings.seed + by * settings.number)); seed.querySelector("input").value = settings.seed; update(); };
      return [
        model.classes.length ? choice("Class", [["turns", "All, in turn"], ...classes()], () => settings.label, (value) => { settings.label = value; }) : null,
        seed, node("div", { class: "pair" }, node("button", { type: "button", click: step(-1) }, "← Earlier"), node("button", { type: "button", click: step(1) }, "Later →")),
        choice("Pictures", numbers().map((number) => [number, `${number}`]), () => settings.number, (value) => { settings.number = Number(value); }),
        ...common()];
    },
    wishes: () => Array.from({ length: settings.number }, (_, index) => wish({ seed: seed_after(settings.seed, index), label: label_of(index, settings.number) })),
    show: (pictures) => grid(pictures, Math.min(8, pictures.length)),
  },
  between: {
    title: "Between two", offered: () => model.latents && !model.input,
    fields: () => [place_fields("From", settings.from), place_fields("To", settings.to),
      slider("Frames", 3, Math.min(32, model.most), 1, () => settings.frames, (value) => { settings.frames = value; }), ...common()],
    wishes: () => Array.from({ length: settings.frames }, (_, index) => wish(settings.from, { towards: attributes_too(place_of(settings.to)), share: index / (settings.frames - 1) })),
    show(pictures) {
      const frame = () => pictures[Math.round(settings.share * (pictures.length - 1))];
      const image = node("img", { alt: "" });
      const draw = () => { const now = frame(); image.src = now.source || "data:,"; image.alt = described(now); image.className = small(now) ? "pixels" : ""; };
      const scrub = slider("Where between the two", 0, 1, 1 / (pictures.length - 1), () => settings.share, (value) => { settings.share = value; }, figure, draw);
      draw();
      return [node("div", { class: "large" }, node("div", {}, image, scrub)), ...grid(pictures, Math.min(9, pictures.length))];
    },
  },
  mix: {
    title: "Mix styles", offered: () => model.layers > 1 && !model.input,
    fields() {
      const layer = (text, name, other, keep) => slider(`Layers from the columns: ${text}`, 0, model.layers - 1, 1, () => settings[name],
        (value) => { settings[name] = value; settings[other] = keep(settings[other], value); ends.forEach((end) => end.renew()); });
      const ends = [layer("first", "first", "last", Math.max), layer("last", "last", "first", Math.min)];
      return [...first_of(), whole_number("First seed of the columns", () => settings.columns, (value) => { settings.columns = value; }), ...ends, ...common()];
    },
    wishes() {
      const mixed = (column) => seed_after(settings.columns, column - 1), side = mixing_side();
      return Array.from({ length: side * side }, (_, index) => {
        const [row, column] = [Math.floor(index / side), index % side];
        if (row && column) return wish(place_at(row - 1), { mixed: mixed(column), layers: [settings.first, settings.last] });
        if (column) return wish({ seed: mixed(column), label: settings.from.label });
        return row ? wish(place_at(row - 1)) : wish(settings.from, { truncation: 0 });
      });
    },
    show: (pictures) => grid(pictures, mixing_side(), true),
  },
  directions: {
    title: "Directions", offered: () => model.directions.length > 0 && !model.input,
    fields: () => [...first_of(), choice("Direction", model.directions.map((name, index) => [index, name]), () => settings.direction, (value) => { settings.direction = Number(value); }),
      slider("How far", 0.5, model.largest_amount, 0.5, () => settings.amount, (value) => { settings.amount = value; }, (value) => `± ${value}`), ...common()],
    wishes() {
      const steps = num_steps();
      return Array.from({ length: steps * Math.min(4, Math.floor(model.most / steps)) }, (_, index) => wish(place_at(Math.floor(index / steps)),
        { direction: settings.direction, amount: settings.amount * ((2 * (index % steps)) / (steps - 1) - 1) }));
    },
    show: (pictures) => grid(pictures, num_steps(), true),
  },
  picture: {
    title: "Your picture", offered: () => Boolean(model.input) || model.projects,
    fields: () => (model.input
      ? [one_class(), model.latents ? whole_number("Seed", () => settings.seed, (value) => { settings.seed = value; }) : null, ...common()]
      : [model.classes.length ? choice("Class", [["turns", "Find it"], ...classes()], () => settings.label, (value) => { settings.label = value; }) : null,
        node("p", { class: "quiet small" }, "What makes this generator draw your picture is looked for. That takes some seconds, and can then be mixed, moved, and be an end of a way.")]),
    wishes: () => [model.input ? wish({ seed: settings.seed, label: only_label() }) : {}],
    show(pictures) { return upload(pictures); },
  },
};

// Showing.
const small = (picture) => model.image[0] <= 96 && !model.input && Boolean(picture.source);
function described(picture) {
  const { seed, label, code, mixed, towards, share, direction, amount } = picture.wish;
  const parts = [code ? "A projected picture" : `Seed ${seed}`];
  if (label !== undefined) parts.push(`class ${model.classes[label]}`);
  if (towards) parts.push(`${Math.round(100 * share)} % of the way to ${towards.code ? "a projected picture" : `seed ${towards.seed}`}`);
  if (mixed !== undefined) parts.push(`styles of seed ${mixed}`);
  if (direction !== undefined) parts.push(`${model.directions[direction]} by ${figure(amount)}`);
  return parts.join(", ");
}
function caption(picture) {
  const { label, code, towards, share, mixed, amount, truncation } = picture.wish;
  const seed = code ? "yours" : `seed ${picture.wish.seed}`;
  if (towards) return `${Math.round(100 * share)} %`;
  if (mixed !== undefined) return "";  // of which its row and its column tell
  if (mode === "mix" && truncation === 0) return "typical";
  if (amount !== undefined) return amount === 0 ? seed : `${amount > 0 ? "+" : "−"}${figure(Math.abs(amount))}`;
  return mode !== "samples" || label === undefined || settings.label !== "turns" ? seed : `${model.classes[label]} · ${seed}`;
}
function grid(pictures, columns, rows = false) {
  const made = node("div", { class: `grid${rows ? " rows" : ""}`, style: `--columns: ${columns}; --all: ${columns}` });
  const cells = pictures.map((picture, index) => node("button", { type: "button", class: "cell", "aria-label": `${described(picture)}${picture.refused ? `: refused by the guard (${picture.refused})` : ""}`, tabindex: index ? -1 : 0, click: () => open_closer(picture) },
    picture.source ? node("img", { src: picture.source, alt: "", width: model.image[1], height: model.image[0], class: small(picture) ? "pixels" : "" }) : node("span", { class: "refused" }, `Refused by the guard: ${picture.refused}`),
    node("span", { class: "under" }, caption(picture))));
  made.append(...cells);
  // Arrows go from picture to picture; the tabulator goes on behind them.
  made.addEventListener("keydown", (event) => {
    const at = cells.indexOf(document.activeElement);
    const width = getComputedStyle(made).gridTemplateColumns.split(" ").length;
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -width, ArrowDown: width }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? cells.length - 1 : by === undefined ? null : at + by;
    if (at < 0 || to === null) return;
    event.preventDefault();
    if (cells[to]) { cells[at].tabIndex = -1; cells[to].tabIndex = 0; cells[to].focus(); }
  });
  const refused = pictures.filter((picture) => picture.refused).length;
  return [made, node("div", { class: "row spread foot" },
    node("span", { class: "quiet small" }, refused ? `The guard of this run refused ${refused} of ${pictures.length}.` : "A picture opens at a click, or with Enter."),
    node("button", { type: "button", click: () => ask("sheet", { wishes: pictures.map((picture) => picture.wish), columns }, (blob) => save(blob, `${model.name}.png`)) }, "Download this sheet"))];
}
function save(content, name) {
  const link = node("a", { href: content instanceof Blob ? URL.createObjectURL(content) : content, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}
function file_name({ seed, label, code, mixed, towards, share, direction, amount }) {
  const parts = [model.name, code ? "projected" : `seed${seed}`];
  if (label !== undefined) parts.push(label);
  if (towards) parts.push(`${Math.round(100 * share)}to${towards.code ? "projected" : towards.seed}`);
  if (mixed !== undefined) parts.push(`mixed${mixed}`);
  if (direction !== undefined) parts.push(`${model.directions[direction].replaceAll(" ", "")}by${amount}`);
  return `${parts.join("_")}.png`;
}
function open_closer(picture) {
  if (!picture.source) return;
  const facts = picture.wish.code ? [] : [["Seed", `${picture.wish.seed}`]];
  if (picture.wish.label !== undefined) facts.push(["Class", model.classes[picture.wish.label]]);
  if (picture.said) facts.push(["Done", picture.said]);
  const take = (which) => node("button", { type: "button", click: () => { settings[which] = { seed: picture.wish.seed, label: picture.wish.label ?? 0, code: picture.wish.code }; $("closer").close(); choose("between"); } }, `${which === "from" ? "Go on from" : "End at"} ${picture.wish.code ? "it" : `seed ${picture.wish.seed}`}`);
  $("closer").replaceChildren(node("div", { class: "shown" },
    node("img", { src: picture.source, alt: described(picture), class: small(picture) ? "pixels" : "" }),
    node("div", {}, node("dl", {}, ...facts.flatMap(([name, text]) => [node("dt", {}, name), node("dd", {}, text)])),
      node("div", { class: "actions" },
        node("button", { type: "button", class: "primary", click: () => save(picture.source, file_name(picture.wish)) }, "Download"),
        ...(model.input ? [] : [take("from"), take("to")]),
        node("button", { type: "button", click: () => $("closer").close() }, "Close")))));
  $("closer").showModal();
}
function upload(pictures) {
  const input = node("input", { type: "file", accept: model.upload.formats.join(","), "aria-label": "Choose a picture", change: () => take(input.files[0]) });
  const zone = node("label", { class: "drop" }, input, node("span", { class: "file-button" }, settings.picture ? "Choose another picture" : "Choose a picture"),
    node("span", { class: "small" }, `or drop one here: PNG, JPEG or WebP, up to ${model.upload.megabytes} MB. It is not kept.`));
  for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    zone.addEventListener(name, (event) => { event.preventDefault(); zone.classList.toggle("over", over); if (name === "drop") take(event.dataTransfer.files[0]); });
  }
  const take = (file) => { if (file) { settings.picture = file; update(); } };
  const shown = !pictures.length ? [] : [node("div", { class: "two" },
    node("figure", { style: "margin: 0" }, node("img", { src: URL.createObjectURL(settings.picture), alt: "Your picture", style: "width: 100%; border-radius: 10px" }), node("figcaption", { class: "quiet small" }, "Your picture")),
    ...pictures.map((picture) => node("button", { type: "button", class: "cell", click: () => open_closer(picture), "aria-label": "What is made of it" },
      picture.source ? node("img", { src: picture.source, alt: "", class: small(picture) ? "pixels" : "" }) : node("span", { class: "refused" }, `Refused by the guard: ${picture.refused}`), node("span", { class: "under" }, model.input ? "What is made of it" : "What this generator draws: open it to go on from it"))))];
  return [zone, ...shown];
}

function update() {
  const chosen = MODES[mode], wishes = chosen.wishes(), now = mode;
  const show = ({ images }) => {
    if (now !== mode) return;
    const focused = [...document.querySelectorAll("#stage .cell")].indexOf(document.activeElement);
    $("stage").replaceChildren(...chosen.show(images.map((image, index) => ({ ...image, wish: wishes[index] }))));
    const cells = document.querySelectorAll("#stage .cell");
    if (focused > 0 && cells[focused]) { cells[0].tabIndex = -1; cells[focused].tabIndex = 0; }
    if (focused >= 0 && cells[focused]) cells[focused].focus();
  };
  if (now === "picture" && !model.input && settings.picture) {
    const place = settings.label === "turns" ? {} : { label: only_label() };
    if (model.attributes.length) place.attributes = settings.attributes;
    $("status").textContent = "looking for it…";
    ask(`project?place=${encodeURIComponent(JSON.stringify(place))}`, settings.picture, (answer) => { wishes[0] = { ...place_of(answer.place), truncation: 1 }; show(answer); });
  } else if (now === "picture" && !model.input) show({ images: [] });
  else if (!model.input) ask("draw", { wishes }, show);
  else if (settings.picture) ask(`translate?wish=${encodeURIComponent(JSON.stringify(wishes[0]))}`, settings.picture, show);
  else show({ images: [] });
}
function choose(name) {
  mode = name;
  for (const tab of document.querySelectorAll("[role=tab]")) {
    tab.setAttribute("aria-selected", tab.dataset.mode === name);
    tab.tabIndex = tab.dataset.mode === name ? 0 : -1;
  }
  $("controls").replaceChildren(...MODES[name].fields().filter(Boolean));
  update();
}

async function begin() {
  model = await (await fetch("model")).json();
  settings.attributes = model.attributes.map(() => 0);
  settings.number = numbers().filter((number) => number <= settings.number).pop();
  settings.frames = Math.min(settings.frames, model.most);
  settings.truncation = Math.min(1, model.largest_truncation);
  settings.last = Math.max(0, Math.floor(model.layers / 2) - 1);
  settings.amount = Math.min(settings.amount, model.largest_amount);
  if (model.between_classes) settings.to.label = 1;
  document.title = `${model.name} · ganjax explore`;
  $("name").textContent = model.name;
  $("facts").textContent = model.facts;
  const offered = Object.keys(MODES).filter((name) => MODES[name].offered());
  const tabs = offered.map((name) => node("button", { type: "button", role: "tab", "data-mode": name, "aria-controls": "stage", click: () => choose(name) }, MODES[name].title));
  document.querySelector(".tabs").append(...tabs);
  document.querySelector(".tabs").addEventListener("keydown", (event) => {
    const to = tabs.indexOf(document.activeElement) + { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (tabs[to]) { tabs[to].focus(); tabs[to].click(); }
  });
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  choose(offered[0]);
}
begin().catch(() => { $("error").textContent = "The server cannot be reached; look at its terminal, and start it again."; $("error").hidden = false; });
