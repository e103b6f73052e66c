"use strict";
(async () => {
  const options = { renderer: "svg", actions: false, ast: true, tooltip: { theme: "custom" } };
  const draw = async (script) => {
    const place = document.getElementById(script.dataset.chart);
    try {
      await vegaEmbed(place, JSON.parse(script.textContent), options);
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
