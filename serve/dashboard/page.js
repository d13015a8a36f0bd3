// The plots of the dashboard: samples come from /samples.json, and everything is drawn anew each time.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 150;
const LEFT = 52;
const BOTTOM = 20;
const TOP = 8;

/** @returns {Element} */
function element(name, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "g", "circle"].includes(name);
  const made = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

function number(value) {
  return whole.format(value);
}

function rate(value) {
  return value >= 100 ? whole.format(value) : short.format(value);
}

function bytes(value) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at++;
  }
  return `${short.format(value)} ${units[at]}`;
}

function seconds(value) {
  if (value === null) return "> 10 s";
  if (value < 0.001) return `${short.format(value * 1e6)} µs`;
  return value < 1 ? `${short.format(value * 1e3)} ms` : `${short.format(value)} s`;
}

function duration(value) {
  if (value < 120) return `${Math.round(value)} s`;
  return value < 7200 ? `${Math.round(value / 60)} min` : `${Math.round(value / 3600)} h`;
}

/** The least of 1, 2, 5, 10, ... that is not below `value`. */
function niceAbove(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * power >= value) * power;
}

/** What only goes up, as how much a second between each sample and the one before. */
function perSecond(samples, of) {
  return samples.map((sample, at) => {
    if (at === 0) return 0;
    const before = samples[at - 1];
    const passed = Math.max(0.001, (sample.atMs - before.atMs) / 1000);
    return Math.max(0, of(sample) - of(before)) / passed;
  });
}

/** Where the pointer is, as a share of the time shown; the same in every plot. */
let pointed;

class Plot {
  constructor(id, label, series, format, options = {}) {
    this.root = document.getElementById(id);
    Object.assign(this, { label, series, format, height: options.height ?? HEIGHT });
    this.legend = element("ul", { class: "legend" });
    this.svg = element("svg", { role: "img" });
    this.root.append(this.legend, this.svg);
    const point = (event) => {
      const { left, width } = this.svg.getBoundingClientRect();
      pointed = Math.min(1, Math.max(0, ((event.clientX - left) - LEFT) / (width - LEFT)));
      drawAll();
    };
    this.svg.addEventListener("pointermove", point);
    this.svg.addEventListener("pointerleave", () => {
      pointed = undefined;
      drawAll();
    });
  }

  draw(samples, spanMs) {
    const width = Math.max(240, Math.round(this.root.clientWidth));
    const { height, series, format } = this;
    const endMs = samples.at(-1).atMs;
    const lines = series.map(({ of }) => of(samples));
    const most = niceAbove(Math.max(0, ...lines.flat()));
    const x = (atMs) => LEFT + (width - LEFT) * (1 - (endMs - atMs) / spanMs);
    const y = (value) => TOP + (height - TOP - BOTTOM) * (1 - value / most);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      const at = Math.round(y(most * share)) + 0.5;
      parts.push(element("line", { class: "grid", x1: LEFT, x2: width, y1: at, y2: at }));
      const text = share === 0.5 && most < 2 && format === number ? "" : format(most * share);
      parts.push(element("text", { x: LEFT - 8, y: at + 4, "text-anchor": "end" }, text));
    }
    const narrow = width < 420;
    for (const share of narrow ? [0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1]) {
      const ago = spanMs * (1 - share) / 1000;
      const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
      const text = share === 1 ? "now" : `${duration(ago)} ago`;
      parts.push(
        element("text", { x: LEFT + (width - LEFT) * share, y: height - 4, "text-anchor": anchor }, text),
      );
    }
    lines.forEach((values, index) => {
      const { tone } = series[index];
      const points = values.map((value, at) => `${x(samples[at].atMs).toFixed(1)},${y(value).toFixed(1)}`);
      const line = `M${points.join("L")}`;
      const area = `${line}L${x(endMs).toFixed(1)},${y(0)}L${x(samples[0].atMs).toFixed(1)},${y(0)}Z`;
      if (series.length === 1) parts.push(element("path", { class: `area ${tone}`, d: area }));
      parts.push(element("path", { class: `line ${tone}`, d: line }));
    });
    let shown = samples.length - 1;
    if (pointed !== undefined) {
      const wantedMs = endMs - spanMs * (1 - pointed);
      shown = samples.reduce(
        (best, sample, at) =>
          Math.abs(sample.atMs - wantedMs) < Math.abs(samples[best].atMs - wantedMs) ? at : best,
        0,
      );
      const at = x(samples[shown].atMs);
      parts.push(element("line", { class: "cursor", x1: at, x2: at, y1: TOP, y2: height - BOTTOM }));
      lines.forEach((values, index) =>
        parts.push(element("circle", {
          class: series[index].tone,
          cx: at,
          cy: y(values[shown]),
          r: 3,
          fill: "currentColor",
        }))
      );
    }
    this.svg.replaceChildren(...parts);
    const when = shown === samples.length - 1 ? "" : ` ${duration((endMs - samples[shown].atMs) / 1000)} ago`;
    this.legend.replaceChildren(
      ...series.map(({ name, tone }, index) =>
        element("li", { class: tone }, `${name} `, element("b", {}, format(lines[index][shown])), when)
      ),
    );
    const words = series.map(({ name }, index) => `${name} ${format(lines[index].at(-1))}`).join(", ");
    this.svg.setAttribute("aria-label", `${this.label}: ${words} now`);
  }
}

const wakesOf = (reason) => (samples) => perSecond(samples, (sample) => sample.wakes[reason]);
const field = (name) => (samples) => samples.map((sample) => sample[name]);
const plots = [
  new Plot(
    "plot-asleep",
    "Connections asleep",
    [{ name: "asleep", tone: "asleep", of: field("asleep") }],
    number,
  ),
  new Plot("plot-awake", "Connections awake", [{ name: "awake", tone: "awake", of: field("awake") }], number),
  new Plot("plot-wakes", "Wakes per second", [
    { name: "by packets", tone: "asleep", of: wakesOf("packet") },
    { name: "by timers", tone: "third", of: wakesOf("timer") },
    { name: "by the application", tone: "awake", of: wakesOf("application") },
  ], rate),
  new Plot("plot-memory", "Memory", [
    { name: "resident", tone: "asleep", of: field("rssBytes") },
    { name: "heap", tone: "third", of: field("heapBytes") },
  ], bytes),
  new Plot("plot-traffic", "Packets per second", [
    { name: "in", tone: "asleep", of: (samples) => perSecond(samples, ({ framesIn }) => framesIn) },
    { name: "out", tone: "third", of: (samples) => perSecond(samples, ({ framesOut }) => framesOut) },
    { name: "dropped", tone: "awake", of: (samples) => perSecond(samples, ({ drops }) => drops) },
  ], rate),
  new Plot("plot-firewall", "Firewall, packets per second", [
    {
      name: "let through",
      tone: "asleep",
      of: (samples) => perSecond(samples, ({ letThrough }) => letThrough),
    },
    { name: "refused", tone: "awake", of: (samples) => perSecond(samples, ({ refused }) => refused) },
  ], rate),
];

let latest;

function drawAll() {
  if (latest === undefined) return;
  const { samples, sampleMs } = latest;
  const endMs = samples.at(-1).atMs;
  // The span grows with what there is, from one minute to five.
  const spanMs = Math.min(300, Math.max(60, samples.length)) * sampleMs;
  const inSpan = samples.filter(({ atMs }) => endMs - atMs <= spanMs);
  for (const plot of plots) plot.draw(inSpan, spanMs);
}

function tiles({ samples, status }) {
  const recent = samples.slice(-6);
  const lately = (of) => {
    const rates = perSecond(recent, of).slice(1);
    return rates.length === 0 ? 0 : rates.reduce((sum, each) => sum + each, 0) / rates.length;
  };
  const { store, waiting } = status;
  const { asleep, awake, waking, rssBytes } = samples.at(-1);
  const [storeValue, storeUnit] = bytes(store.bytes).split(" ");
  const [memoryValue, memoryUnit] = bytes(rssBytes).split(" ");
  const all = [
    ["Asleep", number(asleep), "", "asleep"],
    ["Awake", number(awake), "", "awake"],
    ["Waking", number(waking), waiting > 0 ? `${number(waiting)} wait` : "", ""],
    ["Fall asleep", rate(lately(({ suspends }) => suspends)), "/s", ""],
    ["Wake", rate(lately(({ restores }) => restores)), "/s", ""],
    ["Memory", memoryValue, memoryUnit, ""],
    ["Store", storeValue, storeUnit, ""],
  ];
  document.getElementById("tiles").replaceChildren(...all.map(([name, value, unit, tone]) =>
    element(
      "div",
      { class: "tile" },
      element("div", { class: "name" }, name),
      element("div", { class: `value ${tone}` }, value, element("span", { class: "unit" }, unit)),
    )
  ));
}

function took({ status: { suspendTook, restoreTook } }) {
  const row = (name, { count, p50Seconds, p99Seconds }) => {
    const cells = count === 0 ? ["0", "–", "–"] : [
      number(count),
      `≤ ${seconds(p50Seconds)}`,
      p99Seconds === null ? seconds(null) : `≤ ${seconds(p99Seconds)}`,
    ];
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      ...cells.map((cell) => element("td", {}, cell)),
    );
  };
  document.getElementById("took").replaceChildren(
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        ...["", "how often", "half", "99 of 100"].map((text) => element("th", { scope: "col" }, text)),
      ),
    ),
    element("tbody", {}, row("to fall asleep, durably", suspendTook), row("to wake", restoreTook)),
  );
}

function bars(id, entries, nothing) {
  const root = document.getElementById(id);
  if (entries.length === 0) return root.replaceChildren(element("p", { class: "empty" }, nothing));
  const most = Math.max(1, ...entries.map(({ count }) => count));
  root.replaceChildren(...entries.flatMap(({ name, count, lately }) => {
    const bar = element("i");
    bar.style.width = count === 0 ? "0" : `max(2px, ${100 * count / most}%)`;
    return [
      element("span", { class: "name", title: name }, name),
      element("span", { class: "track" }, bar),
      element("span", { class: "count" }, number(count)),
      ...(lately === undefined ? [] : [element("span", { class: "rate" }, `${rate(lately)}/s`)]),
    ];
  }));
}

function firewall({ samples, status }) {
  const last = samples.slice(-2);
  const rules = (status.firewall ?? []).map(({ rule, packets }, index) => ({
    name: /^\d/.test(rule) ? `rule ${rule}` : rule,
    count: packets,
    lately: perSecond(last, (sample) => sample.firewall[index] ?? 0).at(-1),
  }));
  bars("firewall", rules, "There is no firewall: everything passes.");
}

function drops({ status }) {
  const reasons = Object.entries(status.drops).map(([name, count]) => ({ name, count }))
    .sort((a, b) => b.count - a.count).slice(0, 8);
  bars("drops", reasons, "None so far.");
}

function live(text, lost) {
  const root = document.getElementById("live");
  if (root.textContent !== text) root.textContent = text;
  root.classList.toggle("lost", lost);
}

async function update() {
  try {
    latest = await (await fetch("/samples.json")).json();
    const { pid, runtime, upSeconds } = latest.status;
    document.getElementById("facts").textContent = `${runtime}, process ${pid}, up ${duration(upSeconds)}`;
    if (latest.ended) live("the host has ended", true);
    else live("live", false);
    drawAll();
    tiles(latest);
    took(latest);
    firewall(latest);
    drops(latest);
    document.body.dataset.samples = latest.samples.length;
  } catch {
    live("no answer; what you see is the last that was heard", true);
  }
  setTimeout(update, latest?.sampleMs ?? 1000);
}

new ResizeObserver(drawAll).observe(document.querySelector("main"));
update();
