// The predictor's page: sends a picture, draws what was found, and lets scores and classes be chosen
// without asking again. Every address is relative: a gateway may serve it under a prefix.

const $ = (id) => document.getElementById(id);

// yololine.reporting.palette, which a test compares.
const CLASS_COLOURS = [
  "#0072b2", "#e69f00", "#009e73", "#cc79a7",
  "#56b4e9", "#d55e00", "#a04040", "#8080e0",
];
// What is asked for; the slider shows parts of it, at once.
const LOWEST_SCORE = 0.05;
const CAMERA_QUALITY = 0.85;
// Figures that change faster cannot be read, and a screen reader should be left to finish.
const FIGURES_EVERY_MS = 250;
const SAY_AFTER_MS = 500;
const SAY_LIVE_EVERY_MS = 5000;
const CONFIG_AGAIN_MS = 2000;
const HINT = window.isSecureContext
  ? ""
  : "Browsers give the camera and the clipboard only to https and to localhost. A file, and Ctrl+V, work here too.";

const stage = $("stage");
const picture = $("picture");
const least = $("least");

/** @type {{model_name: string, model_version: string, class_names: string[], image_size: number,
 *   min_score: number, max_image_bytes: number} | null} */
let config = null;
/** What is on the stage: `bitmap` is null where the browser cannot show it; `found` best first. */
let shown = null;
let marked = -1;
let asking = null; // AbortController of the request under way
let camera = null; // AbortController of the live loop
let lastBlob = null;
const hiddenClasses = new Set();

// ---- Colours, as the reports choose them ----

function classColour(id) {
  return CLASS_COLOURS[id % CLASS_COLOURS.length];
}

/** Black or white, whichever reads better (relative luminance, WCAG 2.2). */
function inkOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const channel = parseInt(colour.slice(at, at + 2), 16) / 255;
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#101318" : "#ffffff";
}

// ---- The server ----

/** A refusal, for people. */
class Refused extends Error {
  constructor(title, words, retryAfterSeconds = null) {
    super(words);
    this.title = title;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

const TITLES = {
  400: "The picture cannot be used",
  404: "The model is not here",
  408: "The picture took too long to arrive",
  413: "The picture is too large",
  415: "This kind of picture is not read",
  429: "The server is busy",
  503: "The server is not ready",
  504: "The server took too long",
};

async function fetched(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer", "Check that it runs and can be reached, then try again.", 2);
  }
  let body = null;
  try {
    body = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  if (response.ok && body) return { response, body };
  const told = body && typeof body.error === "string" ? body.error : "";
  const wait = parseFloat(response.headers.get("Retry-After"));
  throw new Refused(
    TITLES[response.status] || "The server refused it",
    told ? sentence(told) : `It answered HTTP ${response.status} ${response.statusText} and no words.`,
    Number.isFinite(wait) ? wait : [429, 502, 503, 504].includes(response.status) ? 1 : null,
  );
}

function sentence(text) {
  const trimmed = text.trim();
  return trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

/** Ask for everything above the lowest score. */
async function detect(blob, signal) {
  if (!config) throw new Refused(TITLES[503], "The model is not loaded yet. Wait for it, then try again.", 1);
  if (blob.size > config.max_image_bytes) {
    throw new Refused(
      TITLES[413],
      `It has ${bytes(blob.size)}; the server takes ${bytes(config.max_image_bytes)} at most. Scale it down, or compress it more.`,
    );
  }
  const address = `v1/models/${encodeURIComponent(config.model_name)}:predict?min_score=${least.min}`;
  const kind = blob.type.startsWith("image/") ? blob.type : "image/jpeg";
  const started = performance.now();
  const { response, body } = await fetched(address, {
    method: "POST",
    headers: { "Content-Type": kind },
    body: blob,
    signal,
  });
  const tripMs = performance.now() - started;
  const timing = /dur=([\d.]+)/.exec(response.headers.get("Server-Timing") || "");
  const [prediction] = body.predictions;
  const found = prediction.scores.map((score, at) => ({
    box: prediction.boxes_xyxy[at],
    score,
    classId: prediction.class_ids[at],
    className: prediction.class_names[at],
  }));
  found.sort((one, other) => other.score - one.score);
  return {
    found,
    width: prediction.width,
    height: prediction.height,
    version: body.model_version,
    tripMs,
    serverMs: timing ? parseFloat(timing[1]) : null,
  };
}

function bytes(count) {
  return count < 1e6 ? `${Math.ceil(count / 1e3)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

// ---- A picture from a file, the clipboard or a drop ----

async function look(blob, name) {
  stopCamera();
  asking?.abort();
  const own = (asking = new AbortController());
  lastBlob = { blob, name };
  clearError();
  const slow = setTimeout(() => ($("working").hidden = false), 120);
  stage.setAttribute("aria-busy", "true");
  const decoding = createImageBitmap(blob).catch(() => null);
  try {
    const answer = await detect(blob, own.signal);
    const bitmap = await decoding;
    if (own.signal.aborted) return;
    show({ ...answer, bitmap, name, sizeBytes: blob.size });
  } catch (error) {
    const bitmap = await decoding;
    if (own.signal.aborted) return;
    // The picture without boxes: it is the one that the words are about.
    const size = bitmap ? { width: bitmap.width, height: bitmap.height } : { width: 0, height: 0 };
    show({ ...size, bitmap, name, sizeBytes: blob.size, found: null, tripMs: null, serverMs: null });
    tell(error, true);
  } finally {
    clearTimeout(slow);
    if (asking === own) {
      asking = null;
      $("working").hidden = true;
      stage.removeAttribute("aria-busy");
    }
  }
}

function take(files, otherwise) {
  const file = files && files[0];
  if (file) look(file, file.name || "pasted picture");
  else if (otherwise) tell(new Refused("That is no file", otherwise), false);
}

// ---- The camera: the next frame goes when the last one is answered ----

async function startCamera() {
  asking?.abort();
  clearError();
  const own = (camera = new AbortController());
  const stopped = new Promise((resolve) => own.signal.addEventListener("abort", resolve));
  $("camera-label").textContent = "Stop the camera";
  $("camera").classList.add("is-on");
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  let stream = null;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 720 } },
    });
    stream.getVideoTracks()[0].addEventListener("ended", () => {
      if (own.signal.aborted) return;
      stopCamera();
      tell(new Refused("The camera is gone", "It was unplugged, or another program took it."), false);
    });
    video.srcObject = stream;
    await Promise.race([video.play(), stopped]);
    await watch(video, own.signal, stopped);
  } catch (error) {
    if (!own.signal.aborted) tell(cameraTrouble(error), false);
  } finally {
    stream?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    if (camera === own) stopCamera();
  }
}

async function watch(video, signal, stopped) {
  const sheet = document.createElement("canvas");
  const brush = sheet.getContext("2d", { alpha: false });
  let perSecond = null;
  let last = performance.now();
  while (!signal.aborted) {
    // None comes while the tab is not seen.
    await Promise.race([nextFrame(video), stopped]);
    if (signal.aborted) return;
    sheet.width = video.videoWidth;
    sheet.height = video.videoHeight;
    brush.drawImage(video, 0, 0);
    const [bitmap, blob] = await Promise.all([
      createImageBitmap(sheet),
      new Promise((resolve) => sheet.toBlob(resolve, "image/jpeg", CAMERA_QUALITY)),
    ]);
    try {
      const answer = await detect(blob, signal);
      const now = performance.now();
      const rate = 1000 / (now - last);
      perSecond = perSecond === null ? rate : 0.85 * perSecond + 0.15 * rate;
      last = now;
      clearError();
      if (!signal.aborted) show({ ...answer, bitmap, name: "Camera", sizeBytes: blob.size, perSecond });
    } catch (error) {
      if (signal.aborted) return;
      if (error.retryAfterSeconds == null) throw error;
      // Busy, or for the moment out of reach: say so, and ask again.
      tell(error, false);
      await Promise.race([pause(1000 * Math.min(error.retryAfterSeconds, 10)), stopped]);
    }
  }
}

function nextFrame(video) {
  return new Promise((resolve) => {
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(resolve);
    else requestAnimationFrame(resolve);
  });
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function stopCamera() {
  const was = camera;
  camera = null;
  was?.abort();
  $("camera-label").textContent = "Use the camera";
  $("camera").classList.remove("is-on");
  if (was && shown) renew();
}

function cameraTrouble(error) {
  if (error instanceof Refused) return error;
  const words = {
    NotAllowedError: ["The camera is not allowed", "Allow it for this page in the browser's settings, then try again."],
    NotFoundError: ["There is no camera", "Connect one, then try again."],
    NotReadableError: ["The camera is taken", "Close the program that uses it, then try again."],
  }[error.name];
  return words ? new Refused(...words) : new Refused("The camera cannot be used", sentence(error.message));
}

// ---- Words: what was found, and what went wrong ----

function tell(error, mayTryAgain) {
  const refused = error instanceof Refused
    ? error
    : new Refused("Something went wrong", sentence(error.message || String(error)));
  if (!$("error").hidden && $("error-words").textContent === refused.message) return;
  $("error-title").textContent = refused.title;
  $("error-words").textContent = refused.message;
  $("again").hidden = !mayTryAgain;
  $("error").hidden = false;
}

function clearError() {
  $("error").hidden = true;
}

let saying = 0;
let saidAt = -Infinity;
/** At once for the eye; for a screen reader when it has had time for what it was told before. */
function say(text, soon) {
  $("told").textContent = text;
  clearTimeout(saying);
  const wait = camera ? Math.max(0, saidAt + SAY_LIVE_EVERY_MS - performance.now()) : soon ? 0 : SAY_AFTER_MS;
  saying = setTimeout(() => {
    if ($("said").textContent === text) return;
    $("said").textContent = text;
    saidAt = performance.now();
  }, wait);
}

function summary(visible) {
  const at = `at a score of ${threshold().toFixed(2)} or more`;
  if (!visible.length) {
    const below = shown.found.length;
    return `${shown.name}: nothing ${at}.` + (below ? ` ${below} with a lower score, or of a class that is not shown.` : "");
  }
  const counts = new Map();
  for (const { className } of visible) counts.set(className, (counts.get(className) || 0) + 1);
  const parts = [...counts].map(([name, count]) => `${count} ${name}`);
  return `${shown.name}: ${parts.join(", ")}, ${at}.` + (shown.bitmap ? "" : " This browser cannot show the picture itself.");
}

// ---- What is shown ----

function threshold() {
  return parseFloat(least.value);
}

function visible() {
  if (!shown || !shown.found) return [];
  return shown.found.filter((each) => each.score >= threshold() && !hiddenClasses.has(each.classId));
}

function show(next) {
  if (shown && shown.bitmap && shown.bitmap !== next.bitmap) shown.bitmap.close();
  shown = next;
  marked = -1;
  stage.classList.remove("is-empty");
  if (next.version && config && next.version !== config.model_version) loadConfig();
  renew(true);
}

let figuresAt = -Infinity;
function renew(fresh = false) {
  draw();
  if (camera && fresh) {
    if (performance.now() - figuresAt < FIGURES_EVERY_MS) return;
    figuresAt = performance.now();
  }
  const now = visible();
  figures(now);
  counts();
  table(now);
  strip();
  if (shown?.found) {
    const text = summary(now);
    picture.setAttribute("aria-label", text);
    say(text, fresh);
  } else {
    const text = shown ? `${shown.name}: no answer.` : "No picture yet";
    picture.setAttribute("aria-label", text);
    say(shown ? text : HINT, true);
  }
}

function figure(id, value, unit, sub) {
  const place = $(id);
  place.textContent = value;
  if (unit) {
    const small = document.createElement("small");
    small.textContent = unit;
    place.append(small);
  }
  $(`${id}-sub`).textContent = sub || "\u00a0";
}

function milliseconds(value) {
  return value < 10 ? value.toFixed(1) : String(Math.round(value));
}

function figures(now) {
  if (!shown) return;
  const all = shown.found?.length;
  figure("found", shown.found ? String(now.length) : "–", "", shown.found ? `of ${all} above ${Number(least.min).toFixed(2)}` : "");
  figure("size", shown.width ? `${shown.width}×${shown.height}` : "–", "", bytes(shown.sizeBytes));
  if (shown.tripMs === null) figure("trip", "–");
  else figure("trip", milliseconds(shown.tripMs), "ms", shown.perSecond ? `${shown.perSecond.toFixed(1)} pictures/s` : "there and back");
  if (shown.serverMs === null) figure("served", "–");
  else figure("served", milliseconds(shown.serverMs), "ms", "decoding included");
}

// ---- Classes ----

function listClasses() {
  $("classes").replaceChildren(...config.class_names.map((name, id) => {
    const item = document.createElement("li");
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = !hiddenClasses.has(id);
    box.addEventListener("change", () => {
      if (box.checked) hiddenClasses.delete(id);
      else hiddenClasses.add(id);
      renew();
    });
    const text = document.createElement("bdi");
    text.textContent = name;
    text.title = name;
    const count = document.createElement("span");
    count.className = "count";
    label.append(box, swatch(id), text, count);
    item.append(label);
    return item;
  }));
}

function swatch(id) {
  const made = document.createElement("span");
  made.className = "swatch";
  made.style.background = classColour(id);
  return made;
}

function setAll(checked) {
  config?.class_names.forEach((_, id) => (checked ? hiddenClasses.delete(id) : hiddenClasses.add(id)));
  for (const box of $("classes").querySelectorAll("input")) box.checked = checked;
  renew();
}

function counts() {
  const above = new Map();
  const all = new Map();
  for (const { classId, score } of shown?.found || []) {
    all.set(classId, (all.get(classId) || 0) + 1);
    if (score >= threshold()) above.set(classId, (above.get(classId) || 0) + 1);
  }
  $("classes").querySelectorAll(".count").forEach((place, id) => {
    place.replaceChildren();
    if (!shown?.found) return;
    const count = document.createElement("b");
    count.textContent = above.get(id) || 0;
    place.append(count, ` of ${all.get(id) || 0}`);
  });
}

// ---- The table ----

function table(now) {
  const rows = $("rows");
  // While the camera runs the table only grows: what is below it does not jump.
  rows.closest(".scroll").style.minHeight = camera ? `${rows.closest(".scroll").offsetHeight}px` : "";
  rows.replaceChildren(...now.map((each) => {
    const row = document.createElement("tr");
    const name = document.createElement("th");
    name.scope = "row";
    const inner = document.createElement("span");
    inner.className = "class";
    const text = document.createElement("bdi");
    text.textContent = each.className;
    inner.append(swatch(each.classId), text);
    name.append(inner);
    const score = document.createElement("td");
    const meter = document.createElement("span");
    meter.className = "meter";
    const value = document.createElement("span");
    value.textContent = each.score.toFixed(2);
    const rail = document.createElement("span");
    rail.className = "rail";
    const fill = document.createElement("span");
    fill.className = "fill";
    fill.style.width = `${100 * each.score}%`;
    fill.style.background = classColour(each.classId);
    rail.append(fill);
    meter.append(value, rail);
    score.append(meter);
    const corners = each.box.map((pixel) => {
      const cell = document.createElement("td");
      cell.className = "num";
      cell.textContent = Math.round(pixel);
      return cell;
    });
    row.append(name, score, ...corners);
    const at = shown.found.indexOf(each);
    row.addEventListener("pointerenter", () => mark(at));
    row.addEventListener("pointerleave", () => mark(-1));
    row.dataset.at = at;
    return row;
  }));
  const words = shown ? (shown.found ? "None to show." : "No answer.") : "None yet: give it a picture.";
  $("rows-none").textContent = now.length ? "" : words;
}

function mark(at) {
  if (at === marked) return;
  marked = at;
  for (const row of $("rows").children) row.classList.toggle("is-marked", Number(row.dataset.at) === at);
  draw();
}

// ---- Drawing ----

function fitted(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const brush = canvas.getContext("2d");
  brush.setTransform(ratio, 0, 0, ratio, 0, 0);
  brush.clearRect(0, 0, width, height);
  return { brush, width, height };
}

/** Where the picture lies on the stage: pixels of the picture times `scale`, plus `left`, `top`. */
function place(width, height) {
  const scale = Math.min(width / shown.width, height / shown.height);
  return { scale, left: (width - shown.width * scale) / 2, top: (height - shown.height * scale) / 2 };
}

function draw() {
  const { brush, width, height } = fitted(picture);
  if (!shown || !shown.width) return;
  const { scale, left, top } = place(width, height);
  if (shown.bitmap) {
    brush.imageSmoothingQuality = "high";
    brush.drawImage(shown.bitmap, left, top, shown.width * scale, shown.height * scale);
  } else {
    brush.fillStyle = getComputedStyle(document.body).getPropertyValue("--bg");
    brush.fillRect(left, top, shown.width * scale, shown.height * scale);
  }
  const outlines = visible().map((each) => {
    // On whole pixels, so that lines are crisp.
    const [x1, x2] = [each.box[0], each.box[2]].map((x) => Math.round(left + x * scale));
    const [y1, y2] = [each.box[1], each.box[3]].map((y) => Math.round(top + y * scale));
    return {
      x: x1,
      y: y1,
      width: Math.max(x2 - x1, 4),
      height: Math.max(y2 - y1, 4),
      colour: classColour(each.classId),
      text: `${each.className} ${each.score.toFixed(2)}`,
      at: shown.found.indexOf(each),
    };
  });
  // The surest last, so that it lies on top.
  for (const each of [...outlines].reverse()) outline(brush, each);
  const room = { left: Math.max(left, 0), top: Math.max(top, 0) };
  room.right = Math.min(left + shown.width * scale, width);
  room.bottom = Math.min(top + shown.height * scale, height);
  chips(brush, outlines, room);
}

function outline(brush, { x, y, width, height, colour, at }) {
  brush.globalAlpha = marked >= 0 && at !== marked ? 0.3 : 1;
  brush.strokeStyle = "rgba(10, 12, 18, 0.55)";
  brush.lineWidth = at === marked ? 6 : 4;
  brush.strokeRect(x, y, width, height);
  brush.strokeStyle = colour;
  brush.lineWidth = at === marked ? 4 : 2;
  brush.strokeRect(x, y, width, height);
  brush.globalAlpha = 1;
}

/** Names of boxes, the surest first. One that would cover an earlier one is left out. */
function chips(brush, outlines, room) {
  const high = 18;
  brush.font = `500 12px ${getComputedStyle(document.body).fontFamily}`;
  brush.textBaseline = "middle";
  const taken = [];
  const ordered = marked < 0 ? outlines : [...outlines].sort((one) => (one.at === marked ? -1 : 0));
  for (const { x, y, width, height, colour, text, at } of ordered) {
    if (marked >= 0 && at !== marked) continue;
    const most = room.right - room.left;
    const label = clipped(brush, text, Math.min(most, Math.max(width, 150)) - 10);
    const wide = brush.measureText(label).width + 10;
    const at_x = Math.max(room.left, Math.min(x - 1, room.right - wide));
    const found = [y - high - 1, y + 2, y + height + 1].find((top) =>
      top >= room.top - 0.5 && top + high <= room.bottom + 0.5 &&
      !taken.some((other) => at_x < other.right && other.left < at_x + wide && top < other.bottom && other.top < top + high));
    if (found === undefined) continue;
    taken.push({ left: at_x, right: at_x + wide, top: found, bottom: found + high });
    brush.fillStyle = colour;
    brush.beginPath();
    brush.roundRect(at_x, found, wide, high, 3);
    brush.fill();
    brush.fillStyle = inkOn(colour);
    brush.fillText(label, at_x + 5, found + high / 2 + 0.5);
  }
}

function clipped(brush, text, width) {
  if (brush.measureText(text).width <= width) return text;
  const [, name, score] = /^(.*)( [\d.]+)$/.exec(text);
  let letters = [...name];
  while (letters.length > 1 && brush.measureText(`${letters.join("")}…${score}`).width > width) letters.pop();
  return `${letters.join("")}…${score}`;
}

/** A tick for each score, below the slider: what the next step of it will show or hide. */
function strip() {
  const { brush, width, height } = fitted($("scores"));
  const inset = 10; // half of the slider's thumb
  const [low, high] = [Number(least.min), Number(least.max)];
  for (const each of [...(shown?.found || [])].reverse()) {
    const x = inset + ((width - 2 * inset) * (each.score - low)) / (high - low);
    brush.globalAlpha = each.score >= threshold() && !hiddenClasses.has(each.classId) ? 1 : 0.35;
    brush.fillStyle = classColour(each.classId);
    brush.fillRect(Math.round(x) - 1, 2, 3, height - 6);
  }
  brush.globalAlpha = 1;
}

// ---- Start ----

function sliderMoved() {
  const value = threshold();
  $("least-value").textContent = value.toFixed(2);
  least.setAttribute("aria-valuetext", value.toFixed(2));
  const share = (value - Number(least.min)) / (Number(least.max) - Number(least.min));
  least.style.setProperty("--at", `calc(10px + (100% - 20px) * ${share})`);
  command();
}

function command() {
  if (!config) return;
  const address = new URL(`v1/models/${encodeURIComponent(config.model_name)}:predict?min_score=${threshold()}`, document.baseURI);
  $("command").textContent = `curl --header 'Content-Type: image/jpeg' --data-binary @picture.jpg '${address.href.replaceAll("'", "%27")}'`;
}

function state(kind, text) {
  $("state").className = `pill is-${kind}`;
  if ($("state").textContent !== text) $("state").textContent = text;
}

async function loadConfig() {
  try {
    const { body } = await fetched("page/config.json");
    const first = !config;
    config = body;
    state("good", "Ready");
    document.title = `${config.model_name} · predictor`;
    $("model").textContent = config.model_name;
    $("version").textContent = config.model_version;
    $("input").textContent = `Input ${config.image_size}×${config.image_size}`;
    const count = config.class_names.length;
    $("class-count").textContent = count === 1 ? "1 class" : `${count} classes`;
    if (first) {
      least.min = Math.min(LOWEST_SCORE, config.min_score);
      least.value = config.min_score;
    }
    listClasses();
    $("below").hidden = false;
    sliderMoved();
    renew();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    state(error.title === TITLES[503] ? "warn" : "bad", error.title);
    setTimeout(loadConfig, CONFIG_AGAIN_MS);
  }
}

$("file").addEventListener("change", (event) => {
  take(event.target.files);
  event.target.value = ""; // so that the same file can be chosen again
});
$("again").addEventListener("click", () => lastBlob && look(lastBlob.blob, lastBlob.name));
$("camera").addEventListener("click", () => (camera ? stopCamera() : startCamera()));
$("all").addEventListener("click", () => setAll(true));
$("none").addEventListener("click", () => setAll(false));
least.addEventListener("input", () => {
  sliderMoved();
  renew();
});

$("paste").addEventListener("click", async () => {
  try {
    for (const item of await navigator.clipboard.read()) {
      const kind = item.types.find((type) => type.startsWith("image/"));
      if (kind) return look(await item.getType(kind), "pasted picture");
    }
    tell(new Refused("There is no picture to paste", "Copy one first, then paste again."), false);
  } catch {
    tell(new Refused("The clipboard is not allowed", "Allow it for this page, or press Ctrl+V (Command+V)."), false);
  }
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) {
    event.preventDefault();
    take(event.clipboardData.files);
  }
});

// The whole window takes a drop: a picture that misses the stage would replace the page.
window.addEventListener("dragover", (event) => {
  event.preventDefault();
  stage.classList.add("is-over");
});
window.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) stage.classList.remove("is-over");
});
window.addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("is-over");
  take(event.dataTransfer.files, "Save the picture as a file first, then drop that.");
});

picture.addEventListener("pointermove", (event) => {
  if (!shown?.width) return;
  const { scale, left, top } = place(picture.clientWidth, picture.clientHeight);
  const [x, y] = [(event.offsetX - left) / scale, (event.offsetY - top) / scale];
  const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
  const under = visible()
    .filter(({ box: [x1, y1, x2, y2] }) => x >= x1 && x <= x2 && y >= y1 && y <= y2)
    .sort((one, other) => area(one.box) - area(other.box));
  mark(under.length ? shown.found.indexOf(under[0]) : -1);
});
picture.addEventListener("pointerleave", () => mark(-1));
window.addEventListener("pagehide", stopCamera);

$("camera").disabled = !navigator.mediaDevices?.getUserMedia;
$("paste").disabled = !navigator.clipboard?.read;

new ResizeObserver(() => {
  draw();
  strip();
}).observe(stage);
sliderMoved();
loadConfig();
