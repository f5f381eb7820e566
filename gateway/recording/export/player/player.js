"use strict";
// The player of an exported recording. All text of the session reaches the page through textContent, never as HTML.
(async function () {
  const $ = (id) => document.getElementById(id);
  const make = (tag, cls, text) => {
    const e = document.createElement(tag);
    if (cls) e.className = cls;
    if (text !== undefined) e.textContent = text;
    return e;
  };

  async function load() {
    const raw = Uint8Array.from(atob($("data").textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  let data;
  try {
    data = await load();
  } catch (e) {
    $("note").hidden = false;
    $("note").textContent = "This page could not be read: " + e;
    return;
  }

  // Colours: 16 named ones, a cube of 216, 24 greys.
  const base = ["#000000", "#cd3131", "#0dbc79", "#e5e510", "#3b78d8", "#bc3fbc", "#11a8cd", "#e5e5e5",
    "#666666", "#f14c4c", "#23d18b", "#f5f543", "#5aa0ff", "#d670d6", "#29b8db", "#ffffff"];
  const hex = (n) => n.toString(16).padStart(2, "0");
  function color(c) {
    if (typeof c === "number") {
      if (c < 16) return base[c];
      if (c >= 232) { const v = hex(8 + (c - 232) * 10); return "#" + v + v + v; }
      const n = c - 16, part = (v) => hex(v === 0 ? 0 : 55 + v * 40);
      return "#" + part(Math.floor(n / 36)) + part(Math.floor(n / 6) % 6) + part(n % 6);
    }
    return /^#[0-9a-f]{6}$/.test(c || "") ? c : "";
  }
  const BOLD = 1, DIM = 2, ITALIC = 4, UNDERLINE = 8, REVERSE = 32, INVISIBLE = 64, STRIKE = 128;
  function paint(span, style) {
    let fg = color(style.f), bg = color(style.b);
    const a = style.a || 0;
    if (a & REVERSE) { [fg, bg] = [bg || "#0b0d10", fg || "#d0d0d0"]; }
    if (a & INVISIBLE) fg = bg || "#0b0d10";
    if (fg) span.style.color = fg;
    if (bg) span.style.backgroundColor = bg;
    if (a & BOLD) span.style.fontWeight = "bold";
    if (a & DIM) span.style.opacity = "0.65";
    if (a & ITALIC) span.style.fontStyle = "italic";
    const lines = [];
    if (a & UNDERLINE) lines.push("underline");
    if (a & STRIKE) lines.push("line-through");
    if (lines.length) span.style.textDecoration = lines.join(" ");
  }

  const clock = (s) => {
    s = Math.max(0, s);
    const two = (n) => String(Math.floor(n)).padStart(2, "0");
    return Math.floor(s / 3600) + ":" + two((s / 60) % 60) + ":" + two(s % 60);
  };

  // Head.
  document.title = data.title;
  $("title").textContent = data.title;
  for (const [k, v] of data.facts) {
    const d = make("div");
    d.append(make("dt", "", k), make("dd", "", v));
    $("facts").append(d);
  }
  if (data.note) { $("note").hidden = false; $("note").textContent = data.note; }

  // State.
  const length = Math.max(data.length, 0.1);
  let channel = null, at = 0, next = 0, rows = [], playing = false, last = 0, skipped = 0;

  const pick = $("channel");
  for (const c of data.channels) pick.append(new Option(c.name, String(c.id)));

  function rowElement(runs) {
    const e = make("div", "row");
    for (const [text, style] of runs) {
      const s = make("span", "", text);
      paint(s, data.styles[style] || {});
      e.append(s);
    }
    return e;
  }

  function apply(f) {
    const screen = $("screen");
    if (f.w) {
      rows = [];
      screen.textContent = "";
      for (let y = 0; y < f.h; y++) {
        const e = make("div", "row");
        rows.push(e);
        screen.append(e);
      }
      screen.style.width = f.c + "ch";
    }
    for (const [y, runs] of f.r) {
      if (!rows[y]) continue;
      const e = rowElement(runs);
      rows[y].replaceWith(e);
      rows[y] = e;
    }
    for (const e of screen.querySelectorAll(".caret")) e.remove();
    if (f.s && rows[f.y]) {
      const caret = make("span", "cursor caret", " ");
      caret.style.position = "absolute";
      caret.style.left = f.x + "ch";
      caret.style.top = (f.y * 1.25) + "em";
      screen.append(caret);
    }
  }

  // show brings the screen to a time: forward from where it is, or from the last whole frame.
  function show(t) {
    if (!channel) return;
    const frames = channel.frames;
    if (t < at || !rows.length) next = 0;
    let low = 0, high = frames.length; // how many frames are not after t
    while (low < high) { const m = (low + high) >> 1; if (frames[m].t <= t) low = m + 1; else high = m; }
    let from = next;
    for (let i = low - 1; i >= next; i--) if (frames[i].w) { from = i; break; }
    if (low === 0) { $("screen").textContent = ""; rows = []; }
    for (let i = from; i < low; i++) apply(frames[i]);
    next = low;
    at = t;
    $("time").textContent = clock(t) + " / " + clock(length);
    $("done").style.width = (100 * Math.min(t / length, 1)) + "%";
    follow();
  }

  function seek(t) { skipped = 0; show(Math.min(Math.max(t, 0), length)); }

  // A timer, not animation frames: a page that nobody looks at goes on too.
  const again = () => setTimeout(() => tick(performance.now()), 16);

  function tick(now) {
    if (!playing) return;
    const step = Math.min((now - last) / 1000, 0.5) * Number($("speed").value);
    last = now;
    let t = at + step;
    const idle = Number($("idle").value);
    if (idle > 0) {
      const f = channel.frames[next];
      const until = f ? f.t : length;
      if (until - at > idle) { skipped += step; if (skipped >= idle) { t = until; skipped = 0; } } else skipped = 0;
    }
    if (t >= length) { show(length); pause(); return; }
    show(t);
    again();
  }
  function play() {
    if (at >= length) seek(0);
    playing = true;
    last = performance.now();
    $("play").textContent = "Pause";
    again();
  }
  function pause() { playing = false; $("play").textContent = "Play"; }
  const toggle = () => (playing ? pause() : play());

  function open(id) {
    channel = data.channels.find((c) => c.id === id) || data.channels[0] || null;
    rows = []; next = 0;
    if (channel) { pick.value = String(channel.id); show(at); }
  }

  // The list of events and, when something is looked for, of lines.
  let entries = [];
  function list() {
    const want = $("find").value.toLowerCase();
    const all = data.events.map((e) => ({ t: e[0], ch: e[1], type: e[2], text: e[3] }));
    entries = want === "" ? all : all.filter((e) => (e.type + " " + e.text).toLowerCase().includes(want));
    if (want !== "") {
      for (const l of data.lines) if (l[2].toLowerCase().includes(want)) entries.push({ t: l[0], ch: l[1], type: "output", text: l[2] });
      entries.sort((a, b) => a.t - b.t);
    }
    const shown = entries.slice(0, 2000);
    $("count").textContent = want === "" ? entries.length + " events" : entries.length + " matches";
    const box = $("list");
    box.textContent = "";
    for (const e of shown) {
      const li = make("li");
      li.tabIndex = 0;
      const body = make("div");
      body.append(make("div", "type", e.type + (data.channels.length > 1 ? " [" + e.ch + "]" : "")));
      if (e.text) body.append(make("div", "command", e.text));
      li.append(make("span", "at", clock(e.t)), body);
      const go = () => { if (channel && e.ch && e.ch !== channel.id && data.channels.some((c) => c.id === e.ch)) open(e.ch); seek(e.t); };
      li.addEventListener("click", go);
      li.addEventListener("keydown", (k) => { if (k.key === "Enter") go(); });
      e.li = li;
      box.append(li);
    }
    marks(want !== "");
  }
  function marks(hits) {
    for (const m of $("track").querySelectorAll(".mark")) m.remove();
    for (const e of entries.slice(0, 2000)) {
      if (!hits && e.type !== "command" && e.type !== "exec" && e.type !== "sftp" && e.type !== "scp") continue;
      const m = make("div", hits ? "mark hit" : "mark");
      m.style.left = (100 * Math.min(e.t / length, 1)) + "%";
      m.title = clock(e.t) + " " + e.text;
      $("track").append(m);
    }
  }
  let current = null;
  function follow() {
    let e = null;
    for (const x of entries) { if (x.t > at + 0.001) break; if (x.li) e = x; }
    if (e === current) return;
    if (current && current.li) current.li.classList.remove("now");
    current = e;
    if (e) { e.li.classList.add("now"); e.li.scrollIntoView({ block: "nearest" }); }
  }

  pick.addEventListener("change", () => open(Number(pick.value)));
  $("play").addEventListener("click", toggle);
  $("find").addEventListener("input", list);
  let dragging = false;
  const place = (ev) => { const b = $("track").getBoundingClientRect(); seek(length * (ev.clientX - b.left) / b.width); };
  $("track").addEventListener("pointerdown", (ev) => { dragging = true; place(ev); });
  addEventListener("pointermove", (ev) => { if (dragging) place(ev); });
  addEventListener("pointerup", () => { dragging = false; });
  addEventListener("keydown", (ev) => {
    if (ev.target.tagName === "INPUT" || ev.target.tagName === "SELECT") return;
    if (ev.key === " ") { ev.preventDefault(); if (ev.target.tagName !== "BUTTON") toggle(); }
    if (ev.key === "ArrowLeft") seek(at - 5);
    if (ev.key === "ArrowRight") seek(at + 5);
  });

  list();
  open(data.channels.length ? data.channels[0].id : 0);
  const wanted = /^#t=([0-9.]+)$/.exec(location.hash);
  seek(wanted ? Number(wanted[1]) : 0);
  if (location.hash === "#play") play();
  document.documentElement.dataset.ready = "true";
})();
