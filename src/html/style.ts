/** How all pages look: colours of light and dark, type, tables. A page adds what it alone has, in these variables. */

/** Colours of series, in both lights: `--s0` and so on, as fill and background of `.s0` and so on. */
export const SERIES_COLOURS = 9;

const LIGHT = [
  '#2b6cd4',
  '#d4761c',
  '#1f8f66',
  '#a8439a',
  '#8a6a2f',
  '#55708c',
  '#c2445e',
  '#3d9fb8',
  '#7b5fc4',
];
const DARK = [
  '#6ea3f5',
  '#f0a050',
  '#4cc495',
  '#d983cd',
  '#c9a765',
  '#94adc8',
  '#ee8398',
  '#6cc9df',
  '#ab94ec',
];

const colours = (palette: readonly string[]): string =>
  palette.map((colour, i) => `--s${i}:${colour}`).join(';');

const series = Array.from(
  { length: SERIES_COLOURS },
  (_, i) => `.s${i}{fill:var(--s${i});background:var(--s${i})}`,
).join('');

const LIGHT_COLOURS = `--ground:#fff;--panel:#f6f7f9;--ink:#1b2026;--soft:#5a6572;--line:#d9dee4;--bad:#c22f3c;--good:#1d7a4c;--warn:#9a5200;--heat:43,108,212;${colours(LIGHT)}`;
const DARK_COLOURS = `--ground:#14171b;--panel:#1c2126;--ink:#e7eaee;--soft:#9aa6b2;--line:#333b44;--bad:#ff7a85;--good:#55b583;--warn:#f0a050;--heat:110,163,245;${colours(DARK)}`;

/** Paper is light, whatever the screen was. */
export const STYLE = `
:root{color-scheme:light dark;${LIGHT_COLOURS}}
@media screen and (prefers-color-scheme:dark){:root{${DARK_COLOURS}}}
*{box-sizing:border-box}
body{margin:0 auto;padding:28px 24px 60px;max-width:1180px;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 2px}h3{font-size:15px;margin:22px 0 6px}p{margin:4px 0 10px}
.soft{color:var(--soft)}
.good{color:var(--good)}.bad{color:var(--bad)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;margin:14px 0 10px;padding:12px 16px;background:var(--panel);border-radius:8px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:4px 7px;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:600;vertical-align:bottom;white-space:normal}
td:first-child:not(.n){white-space:normal;min-width:11em}
td.n,th.n{text-align:right}
tbody tr:hover{background:var(--panel)}
${series}
@media (max-width:700px){body{padding:20px 14px 40px}dl{grid-template-columns:1fr}dd{margin-bottom:6px}}
@media print{*{print-color-adjust:exact;-webkit-print-color-adjust:exact}body{max-width:none;padding:0}h1,h2,h3{break-after:avoid}tr{break-inside:avoid}.scroll{overflow:visible}th,td{white-space:normal}table{font-size:11px}}
`;
