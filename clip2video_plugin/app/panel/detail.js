// What there is to say of the selected video.
const { createElement: h, useEffect, useState } = window.React;
const { Box, Button, TextField } = window.__mui__;
const { Curve, clock } = await import(import.meta.url.replace("detail.js", "curve.js"));

export default function Detail({ view, about, data, tell }) {
  const { curve, needs_frames: needs, picture } = view.detail;
  const [least, setLeast] = useState("");
  useEffect(() => setLeast(data.threshold ?? ""), [data.threshold]);
  return h(
    Box,
    {
      sx: {
        p: 1,
        pl: 4,
        "& p": { m: 0, fontSize: 12 },
        "& ul": { my: 0.5, pl: 2, fontSize: 12 },
        "& li": { fontSize: 12 },
      },
      "data-cy": "clip2video-detail",
    },
    about,
    needs &&
      h(
        Button,
        { size: "small", variant: "outlined", sx: { mt: 1 }, onClick: () => tell("on_embed_frames") },
        "Show where in the video",
      ),
    curve &&
      h(
        Box,
        { sx: { mt: 1 } },
        h(Box, { sx: { color: "text.secondary", fontSize: 12 } }, "Score over time, seconds"),
        h(
          Box,
          { sx: { color: "primary.main" } },
          h(Curve, {
            hit: { curve, moments: [], start: null },
            least: Math.min(...curve.scores),
            most: Math.max(...curve.scores),
            height: 72,
            at: (x) => tell("on_time", { x }),
          }),
        ),
        h(
          Box,
          { sx: { display: "flex", justifyContent: "space-between", fontSize: 11, color: "text.secondary" } },
          h("span", null, "0:00"),
          h("span", null, clock(curve.duration)),
        ),
        h(
          Box,
          { sx: { display: "flex", gap: 1, alignItems: "center", mt: 1 } },
          h(
            Button,
            {
              size: "small",
              variant: "outlined",
              onClick: () => tell("on_mark", { threshold: least === "" ? null : Number(least) }),
            },
            "Mark in this video",
          ),
          h(Box, { component: "span", sx: { fontSize: 12 } }, "that score at least"),
          h(TextField, {
            size: "small",
            type: "number",
            value: least,
            onChange: (event) => setLeast(event.target.value),
            inputProps: { step: 0.01, "aria-label": "that score at least" },
            InputProps: { sx: { height: 32, width: 96, fontSize: 13 } },
          }),
        ),
      ),
    picture &&
      h("img", {
        src: data.frame,
        alt: "the frame at that time",
        style: { height: 160, marginTop: 8, borderRadius: 4, display: "block" },
      }),
  );
}
