"use strict";
(async () => {
  const options = { renderer: "svg", actions: false, ast: true, tooltip: { theme: "custom" } };
  // Panels do not follow the width of their place by themselves.
  const fit = (spec, room) => {
    if (!spec.facet) return spec;
    const [least, beside, between] = [220, 70, 20];
    const most = Math.max(1, Math.floor((room - beside + between) / (least + between)));
    const columns = Math.min(spec.columns, most);
    const width = Math.floor((room - beside + between) / columns) - between;
    const legends = spec.spec.layer.flatMap((layer) => Object.values(layer.encoding).map((channel) => channel.legend));
    for (const legend of legends.filter((each) => each && each.columns)) {
      legend.columns = Math.max(1, Math.floor((legend.columns * room) / legend.labelLimit));
      legend.labelLimit = room - beside;
    }
    return { ...spec, columns, spec: { ...spec.spec, width } };
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
  await Promise.all([...document.querySelectorAll("script[data-chart]")].map(draw));
  document.documentElement.dataset.charts = "drawn";
  const folded = [...document.querySelectorAll("main details")];
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = folded.filter((details) => !details.open);
    opened.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((details) => { details.open = false; }));
})();
