// Scores of a video over time.
const { createElement: h } = window.React;

export const clock = (seconds) => {
  const tenths = Math.round(10 * seconds);
  const [whole, rest] = [Math.floor(tenths / 10), tenths % 10];
  const [hours, minutes, secs] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(secs)}${rest ? `.${rest}` : ""}`;
};

// Scores over time, with the spans that fit; a press opens the video there.
export function Curve({ hit, least, most, height, at }) {
  const { times, scores, duration } = hit.curve;
  const x = (time) => (1000 * time) / duration;
  const y = (score) => height - 1 - ((height - 3) * (score - least)) / (most - least || 1);
  const best = hit.start == null || (hit.end ?? duration) - hit.start > 0.95 * duration ? [] : [[hit.start, hit.end]];
  const spans = hit.moments.length ? hit.moments : best;
  const points = times.map((time, i) => `${x(time).toFixed(1)},${y(scores[i]).toFixed(1)}`);
  const time = (event) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    return Math.min(Math.max(((event.clientX - left) / width) * duration, 0), duration);
  };
  return h(
    "svg",
    {
      viewBox: `0 0 1000 ${height}`,
      preserveAspectRatio: "none",
      width: "100%",
      height,
      role: "img",
      "aria-label": `scores from 0:00 to ${clock(duration)}`,
      "data-cy": "clip2video-curve",
      style: { display: "block", cursor: "pointer" },
      onClick: (event) => [event.stopPropagation(), at(time(event))],
    },
    spans.map(([start, end]) =>
      h("rect", {
        key: start,
        x: x(start),
        y: 0,
        width: Math.max(x(end) - x(start), 4),
        height,
        fill: "currentColor",
        opacity: 0.18,
      }),
    ),
    h("polyline", {
      points: [`${x(times[0] ?? 0)},${height}`, ...points, `${x(times[times.length - 1] ?? 0)},${height}`].join(" "),
      fill: "currentColor",
      opacity: 0.25,
    }),
    h("polyline", {
      points: points.join(" "),
      fill: "none",
      stroke: "currentColor",
      strokeWidth: 1.5,
      vectorEffect: "non-scaling-stroke",
    }),
  );
}
