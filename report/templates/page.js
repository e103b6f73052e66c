"use strict";
(async () => {
  const options = { renderer: "svg", actions: false, ast: true, tooltip: { theme: "custom" } };
  const [least, beside, between] = [220, 70, 20];
  // Legends beside a chart go below it, and have as many columns as there is room for.
  const fitLegends = (spec, layers, room) => {
    const legends = layers.flatMap((layer) => Object.values(layer.encoding ?? {}).map((channel) => channel.legend));
    for (const legend of legends.filter(Boolean)) {
      if (legend.orient === "right" && room < 3 * least) {
        const columns = Math.ceil(room / least) - 1;
        Object.assign(legend, { orient: "bottom", columns, labelLimit: room / columns - beside });
        spec.config.legend.layout = { bottom: { direction: "vertical" } };
      } else if (typeof legend.columns === "number") {
        legend.columns = Math.max(1, Math.floor((legend.columns * room) / Math.max(room, legend.labelLimit)));
        legend.labelLimit = Math.min(legend.labelLimit, room - beside);
      }
    }
  };
  // Panels do not follow the width of their place by themselves.
  const fit = (spec, room) => {
    const inner = spec.spec ?? spec;
    fitLegends(spec, inner.layer ?? [inner], room);
    if (!spec.facet) return spec;
    const width = (columns) => Math.floor((room - beside + between) / columns) - between;
    if (spec.facet.column) {
      const names = new Set(spec.data.values.map((row) => row[spec.facet.column.field]));
      return { ...spec, spec: { ...inner, width: width(names.size) } };
    }
    const most = Math.max(1, Math.floor((room - beside + between) / (least + between)));
    const columns = Math.min(spec.columns, most);
    return { ...spec, columns, spec: { ...inner, width: width(columns) } };
  };
  const draw = async (script) => {
    const place = document.getElementById(script.dataset.chart);
    try {
      await vegaEmbed(place, fit(JSON.parse(script.textContent), place.clientWidth), options);
    } catch (error) {
      place.textContent = "This chart could not be drawn; the tables hold its numbers.";
      place.classList.add("failed");
      console.error(error);
    }
  };
  // Tables become cards where they are wider than their place, which a turned phone or an unfolded table changes.
  const widths = new WeakMap();
  // What is laid out as something else is a table to screen readers only where it says so.
  const roles = { TABLE: "table", TBODY: "rowgroup", TR: "row", TH: "rowheader", TD: "cell" };
  const nameRoles = (place) => {
    for (const part of place.querySelectorAll("table, tbody, tbody *")) {
      if (roles[part.tagName]) part.setAttribute("role", roles[part.tagName]);
    }
  };
  const fitTable = (place) => {
    if (!place.clientWidth || widths.get(place) === place.clientWidth) return;
    widths.set(place, place.clientWidth);
    place.classList.remove("cards");
    place.classList.toggle("cards", place.scrollWidth > place.clientWidth);
    if (place.classList.contains("cards")) nameRoles(place);
  };
  const places = [...document.querySelectorAll(".scroll")];
  places.forEach(fitTable);
  const observer = new ResizeObserver((seen) => requestAnimationFrame(() => seen.forEach((one) => fitTable(one.target))));
  places.forEach((place) => observer.observe(place));
  // A narrower window is drawn once before what observers ask of the next frame.
  addEventListener("resize", () => places.forEach(fitTable));
  await Promise.all([...document.querySelectorAll("script[data-chart]")].map(draw));
  document.documentElement.dataset.charts = "drawn";
})();
