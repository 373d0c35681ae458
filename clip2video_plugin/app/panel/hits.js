// The answer: a row for each of the best hits with its picture, score, and where in it the query fits.
const { createElement: h, useEffect, useRef, useState } = window.React;
const { useRecoilValue } = window.recoil;
const { Box, Button, Collapse, Skeleton, Typography } = window.__mui__;
const { executeOperator } = window.__foo__;
const { getSampleSrc, modalLooker } = window.__fos__;
const { Curve, clock } = await import(import.meta.url.replace("hits.js", "curve.js"));
const { default: Detail } = await import(import.meta.url.replace("hits.js", "detail.js"));

const FIRST = 12; // rows that are shown at once; the others are a press away
const HEIGHT = 60;
const ELLIPSIS = { overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" };
// Opens a sample, at a time. Its player seeks once it knows the video's length; the clock beside it hears of changes
// alone and may begin later: so the frame and its neighbour are asked for in turn, for a second and a half.
const TURNS = 7;
function useOpen() {
  const looker = useRecoilValue(modalLooker);
  const wanted = useRef(null);
  useEffect(() => {
    const at = wanted.current;
    if (!at || !looker?.seekToFrame || looker.state?.config?.sampleId !== at.id) return;
    const frame = Math.floor(at.time * looker.state.config.frameRate) + 1;
    let turn = 0;
    const timer = setInterval(() => {
      if (wanted.current !== at) return clearInterval(timer);
      const asked = turn % 2 ? frame - 1 || 2 : frame;
      looker.pause?.();
      looker.seekToFrame(asked);
      if (looker.frameNumber === asked) turn += 1;
      if (turn === TURNS || Date.now() > at.until) wanted.current = null;
    }, 200);
    return () => clearInterval(timer);
  }, [looker]);
  return (id, time) => {
    wanted.current = { id, time: time ?? 0, until: Date.now() + 60000 };
    executeOperator("@voxel51/operators/open_sample", { id });
  };
}

// A video's frame at the start of its best window, which plays while the pointer is on it.
function Picture({ hit, open }) {
  const [broken, setBroken] = useState(false);
  const video = useRef(null);
  const start = hit.start ?? 0;
  useEffect(() => setBroken(false), [hit.media]);
  const rest = () => {
    video.current?.pause();
    if (video.current) video.current.currentTime = start;
  };
  const media = { style: { width: "100%", height: "100%", objectFit: "cover", display: "block" } };
  const source = hit.media && getSampleSrc(hit.media);
  return h(
    Box,
    {
      component: "button",
      type: "button",
      tabIndex: -1,
      title: `Open at ${clock(start)}`,
      onClick: (event) => [event.stopPropagation(), open(start)],
      onMouseEnter: () => video.current?.play()?.catch(() => {}),
      onMouseLeave: rest,
      sx: {
        width: 72,
        height: 48,
        p: 0,
        border: 0,
        borderRadius: 0.5,
        overflow: "hidden",
        bgcolor: "action.hover",
        cursor: "pointer",
      },
    },
    source &&
      !broken &&
      !hit.picture &&
      h("video", {
        ...media,
        ref: video,
        src: `${source}#t=${start}`,
        muted: true,
        playsInline: true,
        preload: "metadata",
        onError: () => setBroken(true),
        onTimeUpdate: ({ target }) =>
          hit.end != null && target.currentTime >= hit.end && !target.paused && (target.currentTime = start),
      }),
    source && !broken && hit.picture && h("img", { ...media, src: source, alt: "", onError: () => setBroken(true) }),
  );
}

function Row({ hit, top, range, chosen, sided, comparable, open, select, move, children }) {
  const keyed = (event) => {
    if (event.target !== event.currentTarget) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") move(event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Enter") select();
    else if (event.key === "o") open(hit.start);
    else return;
    event.preventDefault();
  };
  const span = hit.start == null ? null : `${clock(hit.start)}–${clock(hit.end ?? hit.duration ?? hit.start)}`;
  return h(
    Box,
    {
      sx: {
        borderRadius: 1,
        bgcolor: chosen ? "action.selected" : undefined,
        borderLeft: "2px solid",
        borderLeftColor: chosen ? "primary.main" : "transparent",
      },
    },
    h(
      Box,
      {
        role: "button",
        tabIndex: 0,
        "aria-pressed": chosen,
        "aria-label": `${hit.rank}. ${hit.name}, score ${hit.score.toFixed(3)}`,
        "data-cy": "clip2video-hit",
        onClick: select,
        onKeyDown: keyed,
        sx: {
          display: "grid",
          gridTemplateColumns: "20px 72px minmax(0, 1fr) 76px",
          columnGap: 1,
          alignItems: "center",
          height: HEIGHT,
          pr: 1,
          cursor: "pointer",
          borderRadius: 1,
          "&:hover": { bgcolor: "action.hover" },
          "&:focus-visible": { outline: "2px solid", outlineColor: "primary.main", outlineOffset: -2 },
        },
      },
      h(Box, { sx: { textAlign: "right", color: "text.secondary", fontVariantNumeric: "tabular-nums" } }, hit.rank),
      h(Picture, { hit, open }),
      h(
        Box,
        { sx: { minWidth: 0 } },
        h(
          Box,
          { sx: { display: "flex", gap: 1, alignItems: "baseline" } },
          h(Box, { sx: { ...ELLIPSIS, fontWeight: 500 }, title: hit.path }, hit.name),
          hit.silent &&
            h(Box, { sx: { color: "text.secondary", fontSize: 11, ...ELLIPSIS }, title: hit.silent }, hit.silent),
          hit.missing && h(Box, { sx: { color: "error.main", fontSize: 11, whiteSpace: "nowrap" } }, "file is gone"),
          sided &&
            h(
              Box,
              { sx: { fontSize: 11, color: "text.secondary", whiteSpace: "nowrap" }, title: "which side found it" },
              `by ${hit.matched}`,
            ),
          span &&
            h(
              Box,
              {
                sx: {
                  ml: "auto",
                  fontSize: 11,
                  color: "text.secondary",
                  whiteSpace: "nowrap",
                  fontVariantNumeric: "tabular-nums",
                },
              },
              span,
            ),
        ),
        hit.caption &&
          !hit.curve &&
          h(Box, { sx: { ...ELLIPSIS, fontSize: 12, color: "text.secondary" } }, hit.caption),
        hit.curve &&
          h(Box, { sx: { color: "primary.main", mt: 0.5 } }, h(Curve, { hit, ...range, height: 22, at: open })),
      ),
      h(
        Box,
        { sx: { fontVariantNumeric: "tabular-nums" } },
        h(
          Box,
          { sx: { display: "flex", justifyContent: "space-between", alignItems: "baseline" } },
          h(Box, { component: "span", sx: { fontWeight: 500 }, title: comparable }, hit.score.toFixed(3)),
          hit.confidence != null &&
            h(
              Box,
              {
                component: "span",
                sx: { fontSize: 11, color: "text.secondary" },
                title: "probability that it is right",
              },
              hit.confidence < 0.01 ? "<1 %" : `${Math.round(100 * hit.confidence)} %`,
            ),
        ),
        h(
          Box,
          {
            sx: { height: 4, mt: 0.5, borderRadius: 2, bgcolor: "action.hover", overflow: "hidden" },
            "data-cy": "clip2video-bar",
          },
          h(Box, {
            sx: { height: 4, width: `${Math.max(0, Math.min(1, hit.score / top)) * 100}%`, bgcolor: "primary.main" },
          }),
        ),
      ),
    ),
    h(Collapse, { in: Boolean(children), unmountOnExit: true }, children),
  );
}

function Nothing({ view, tell }) {
  const { nothing } = view;
  return h(
    Box,
    { sx: { textAlign: "center", py: 5, color: "text.secondary" }, "data-cy": "clip2video-nothing" },
    h(Typography, { sx: { fontSize: 18, color: "text.primary", mb: 0.5 } }, nothing.title),
    nothing.lines.map((line) => h(Box, { key: line, sx: { fontSize: 12, lineHeight: 1.8 } }, line)),
    nothing.anyway &&
      h(
        Button,
        {
          size: "small",
          sx: { mt: 1 },
          onClick: () => tell("on_option", { path: "options.min_confidence", value: 0 }),
        },
        "Show them anyway",
      ),
  );
}

export default function Hits({ view, busy, tell, about, data }) {
  const [all, setAll] = useState(false);
  const open = useOpen();
  const list = useRef(null);
  const { hits, selected } = view;
  useEffect(() => setAll(false), [hits[0]?.id, hits.length]);
  const chosen = selected[selected.length - 1]?.id;
  const scores = hits.flatMap((hit) => hit.curve?.scores ?? []);
  const range = { least: Math.min(...scores), most: Math.max(...scores) };
  const sided = hits.some((hit) => hit.matched !== "vector");
  const select = (id) =>
    executeOperator("@voxel51/operators/set_selected_samples", {
      samples: id === chosen ? [] : [{ id, type: "default" }],
    });
  const move = (by) => {
    const rows = [...list.current.querySelectorAll('[data-cy="clip2video-hit"]')];
    rows[rows.indexOf(document.activeElement) + by]?.focus();
  };
  const detail = about && h(Detail, { view, about, data, tell });
  const inside = hits.slice(0, all ? undefined : FIRST).some((hit) => hit.id === chosen);
  const rows = hits.slice(0, all ? undefined : FIRST).map((hit) =>
    h(
      Row,
      {
        key: hit.id,
        hit,
        top: Math.max(hits[0].score, 1e-6),
        range,
        chosen: hit.id === chosen,
        sided,
        comparable: view.comparable,
        open: (time) => open(hit.id, time),
        select: () => select(hit.id),
        move,
      },
      hit.id === chosen ? detail : null,
    ),
  );
  return h(
    Box,
    { ref: list, "data-cy": "clip2video-hits", "aria-busy": busy },
    !inside && detail,
    h(Box, { sx: { opacity: busy ? 0.45 : 1, transition: "opacity .15s" } }, rows),
    hits.length > rows.length &&
      h(
        Button,
        { size: "small", fullWidth: true, sx: { textTransform: "none" }, onClick: () => setAll(true) },
        `Show ${hits.length - rows.length} more`,
      ),
    !hits.length &&
      busy &&
      [1, 2, 3, 4].map((key) => h(Skeleton, { key, variant: "rounded", height: HEIGHT - 8, sx: { mb: 1 } })),
    !hits.length && !busy && h(Nothing, { view, tell }),
  );
}
