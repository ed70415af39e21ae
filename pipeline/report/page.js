"use strict";
{
  const $ = (id) => document.getElementById(id);
  const { layers, samples } = JSON.parse($("data").textContent);
  const picture = (sample, layer) => `data:image/webp;base64,${sample.images[layer]}`;
  const named = (layer) => layer.replaceAll("_", " ");
  const root = document.documentElement;

  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const sayTheme = () => { $("theme").textContent = isDark() ? "Light" : "Dark"; };
  $("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    sayTheme();
  });
  sayTheme();

  const cards = samples.map((sample, place) => {
    const { id, glasses, subject, wear, hdri } = sample.record;
    const card = document.createElement("button");
    const image = document.createElement("img");
    const title = document.createElement("b");
    const about = document.createElement("small");
    card.type = "button";
    card.id = id;
    image.decoding = "async";
    image.alt = `Sample ${id}: ${glasses}, ${wear}, on ${subject}, in ${hdri}`;
    title.textContent = id;
    about.textContent = `${glasses} · ${hdri}`;
    card.append(image, title, about);
    card.addEventListener("click", () => open(place));
    return card;
  });
  $("cards").append(...cards);
  const show = (layer) => {
    $("gallery").dataset.layer = layer;
    cards.forEach((card, place) => { card.firstChild.src = picture(samples[place], layer); });
  };
  document.querySelectorAll("[name=layer]").forEach((choice) =>
    choice.addEventListener("change", () => show(choice.value)));
  show(document.querySelector("[name=layer]:checked").value);

  let current = 0;
  const sides = ["left", "right"];
  sides.forEach((side, place) => {
    const select = $(`${side}-layer`);
    select.append(...layers.map((layer) => new Option(named(layer), layer)));
    select.value = ["all", "face"][place];
    select.addEventListener("change", draw);
  });
  function draw() {
    for (const side of sides) {
      const layer = $(`${side}-layer`).value;
      $(side).src = picture(samples[current], layer);
      $(side).alt = `${named(layer)} of sample ${samples[current].record.id}`;
    }
  }
  function fact(name, value) {
    const item = document.createElement("div");
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    item.append(term, text);
    return item;
  }
  function open(place) {
    current = (place + samples.length) % samples.length;
    const record = samples[current].record;
    $("viewer-title").textContent = `Sample ${record.id}`;
    $("spec").textContent = JSON.stringify(record, null, 2);
    $("spec").scrollTop = 0;
    $("facts").replaceChildren(
      ...["glasses", "wear", "subject", "expression", "hdri", "split"].map((key) => fact(key, record[key] ?? "–")));
    draw();
    if (!$("viewer").open) $("viewer").showModal();
  }
  $("slide").addEventListener("input", () =>
    $("slide").parentElement.style.setProperty("--at", `${$("slide").value}%`));
  $("before").addEventListener("click", () => open(current - 1));
  $("after").addEventListener("click", () => open(current + 1));
  $("close").addEventListener("click", () => $("viewer").close());
  $("viewer").addEventListener("click", (event) => {
    if (event.target === $("viewer")) $("viewer").close();
  });
  $("viewer").addEventListener("close", () => cards[current].focus());
}
