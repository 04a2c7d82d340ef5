// Draws what the page holds as JSON: readings, and a forecast with its band. uPlot comes from a script of its own.

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const DAY = 86400;

function words(zone, unit) {
  const format = (options) => new Intl.DateTimeFormat("en-GB", { timeZone: zone, ...options });
  const clock = format({ hour: "2-digit", minute: "2-digit" });
  const day = format({ weekday: "short", day: "numeric", month: "short" });
  const date = (seconds) => new Date(seconds * 1000);
  const number = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 4 });
  return {
    tick: (seconds, distance) => {
      const time = clock.format(date(seconds));
      return time === "00:00" || distance >= DAY ? day.format(date(seconds)) : time;
    },
    moment: (seconds) => `${day.format(date(seconds))}, ${clock.format(date(seconds))}`,
    value: (value) => `${number.format(value)} ${unit}`.trim(),
    bare: (value) => number.format(value),
  };
}

// One table for all lines. Where two of them do not share a time, join leaves a hole that is drawn over;
// a null is a gap in the readings and breaks the line.
function table(data) {
  const empty = { time: [], value: [] };
  const ends = data.window ?? []; // without readings the axis would end where the dots do
  const { readings = { time: ends, value: ends.map(() => null) }, outcome = data.flagged ?? empty, forecast } = data;
  return uPlot.join([
    [readings.time, readings.value],
    forecast ? [forecast.time, forecast.p90, forecast.p10, forecast.p50] : [[], [], [], []],
    [outcome.time, outcome.value],
  ]);
}

function verticalLine(seconds) {
  return (u) => {
    const x = Math.round(u.valToPos(seconds, "x", true));
    if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) return;
    u.ctx.save();
    u.ctx.strokeStyle = color("--chart-axis");
    u.ctx.setLineDash([4, 4]);
    u.ctx.beginPath();
    u.ctx.moveTo(x, u.bbox.top);
    u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
    u.ctx.stroke();
    u.ctx.restore();
  };
}

function reader(output, say, last) {
  return (u) => {
    const i = u.cursor.idx;
    if (i == null) return;
    const [time, before, p90, p10, p50, after] = u.data.map((column) => column[i]);
    const parts = [say.moment(time)];
    if (p50 != null) parts.push(`median ${say.value(p50)}, 80 % between ${say.bare(p10)} and ${say.bare(p90)}`);
    if (before != null) parts.push(`read ${say.value(before)}`);
    if (after != null) parts.push(`${last} ${say.value(after)}`);
    output.textContent = parts.join(" · ");
  };
}

function draw(figure) {
  const data = JSON.parse(document.getElementById(figure.dataset.source).textContent);
  const plot = figure.querySelector(".plot");
  const say = words(data.zone, data.unit);
  const size = () => ({ width: plot.clientWidth, height: Math.max(240, Math.min(380, plot.clientWidth * 0.5)) });
  const stroke = (name, width, extra = {}) => ({ stroke: () => color(name), width, points: { show: false }, ...extra });
  const dots = { paths: () => null, points: { show: true, size: 7, fill: () => color("--chart-outcome") } };
  const axis = { stroke: () => color("--chart-axis"), grid: { stroke: () => color("--chart-grid"), width: 1 }, ticks: { show: false } };
  const chart = new uPlot(
    {
      ...size(),
      legend: { show: false },
      cursor: { y: false, drag: { x: true, y: false }, hover: { prox: 4 } },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), data.zone),
      scales: { y: { range: (u, low, high) => uPlot.rangeNum(low ?? 0, high ?? 1, 0.08, true) } },
      axes: [
        { ...axis, space: 70, size: 32, values: (u, splits, index, space, distance) => splits.map((at) => say.tick(at, distance)) },
        {
          ...axis,
          values: (u, splits) => splits.map((value) => say.bare(value)),
          size: (u, values) => 16 + 7 * Math.max(2, ...(values ?? []).map((value) => value.length)),
        },
      ],
      series: [
        {},
        stroke("--chart-readings", 1.5),
        stroke("--chart-edge", 1),
        stroke("--chart-edge", 1),
        stroke("--chart-median", 2.5),
        stroke("--chart-outcome", 1.5, data.flagged ? dots : { dash: [5, 3] }),
      ],
      bands: [{ series: [2, 3], fill: () => color("--chart-band") }],
      hooks: {
        draw: data.start ? [verticalLine(data.start)] : [],
        setCursor: [reader(figure.querySelector(".readout"), say, data.flagged ? "flagged" : "read")],
      },
    },
    table(data),
    plot,
  );
  if (data.start && plot.clientWidth < 600) {
    const [first, last] = [chart.data[0][0], chart.data[0].at(-1)];
    chart.setScale("x", { min: Math.max(first, data.start - 2 * DAY), max: last });
  }
  if (matchMedia("(hover: hover)").matches) {
    figure.querySelector(".readout").textContent = "Point at a time to read it. Drag to zoom in, double-click for all of it.";
  }
  new ResizeObserver(() => chart.setSize(size())).observe(plot);
  new MutationObserver(() => chart.redraw(false)).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.redraw(false));
  figure.dataset.drawn = "yes";
}

document.querySelectorAll("figure[data-source]").forEach(draw);
