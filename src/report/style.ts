/** What a report looks like beyond the style that all pages have. */
export const REPORT_STYLE = `
html{scroll-padding-top:12px}
header{margin-bottom:8px}
.crumb{margin:0 0 6px;font-size:13px}
h1{overflow-wrap:anywhere;line-height:1.25}
bdi{overflow-wrap:anywhere}
small{font-size:.85em;font-weight:400;color:var(--soft)}
nav ul{display:flex;flex-wrap:wrap;gap:4px 16px;list-style:none;margin:16px 0 0;padding:10px 0;border-block:1px solid var(--line);font-size:14px}
a{color:var(--s0)}
:focus-visible{outline:2px solid var(--s0);outline-offset:2px;border-radius:4px}
.badge{display:inline-block;vertical-align:middle;margin-left:6px;padding:1px 10px;border:1px solid currentColor;border-radius:99px;font-size:13px;font-weight:600;line-height:1.6}
.badge.busy{color:var(--warn)}
.reason{padding:10px 14px;border-radius:8px;background:var(--panel);border-left:4px solid var(--warn);overflow-wrap:anywhere}
.reason.failure{border-left-color:var(--bad)}
.cards{display:grid;grid-template-columns:repeat(var(--columns),1fr);gap:10px;margin:16px 0 12px}
.cards .card{display:flex;flex-direction:column;font-size:13px}
.cards .card b{font-size:22px;line-height:1.35;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.card{padding:10px 14px;background:var(--panel);border-radius:8px;min-width:0}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:20px 32px}
figure{margin:8px 0 0;min-width:0}
figure p{font-size:13.5px;margin:0 0 6px}
figure h3{margin:10px 0 0}
.chart{min-height:250px;cursor:crosshair}
.chart .u-select{background:color-mix(in srgb,var(--s0) 18%,transparent)}
.chart .u-cursor-x{border-color:var(--soft)}
.chart .u-off{display:none}
.note{font-size:12.5px!important}
ul.legend{display:flex;flex-wrap:wrap;align-items:center;gap:2px 16px;list-style:none;margin:4px 0;padding:0;font-size:13px;font-variant-numeric:tabular-nums}
ul.legend i{display:inline-block;flex:none;width:11px;height:11px;border-radius:3px}
ul.legend button{display:inline-flex;align-items:center;gap:6px;min-height:26px;padding:1px 4px;margin:0 0 0 -4px;border:0;border-radius:4px;background:none;color:inherit;font:inherit;cursor:pointer;text-align:start}
ul.legend button:disabled{cursor:default;color:inherit}
ul.legend button[aria-pressed=false]{text-decoration:line-through;opacity:.7}
ul.legend .told-here{display:inline-grid}.told-here>*{grid-area:1/1}
ul.legend.told .course{visibility:hidden}
ul.legend .value{font-weight:600}
ul.legend .step{min-width:7em}
.under{display:flex;flex-wrap:wrap;gap:4px 16px;align-items:flex-start}.under details{flex:1 1 auto;min-width:0;max-width:100%}
button.axis{margin-top:4px;min-height:26px;padding:1px 10px;border:1px solid var(--line);border-radius:99px;background:none;color:var(--soft);font:inherit;font-size:12.5px;cursor:pointer}
button.axis[aria-pressed=true]{background:var(--panel);color:var(--ink);border-color:currentColor}
button.axis:disabled{cursor:default}
i.run{display:inline-block;width:11px;height:11px;border-radius:3px}
details{margin:6px 0}summary{cursor:pointer;font-size:13.5px;color:var(--soft)}
.best{font-weight:700}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.memory{display:grid;grid-auto-flow:row dense;grid-template-columns:fit-content(40%) 1fr max-content;gap:8px 12px;align-items:center;margin:12px 0 6px;font-size:13.5px;font-variant-numeric:tabular-nums}
.memory-row{display:contents}
.memory span{grid-column:1}.memory b{grid-column:3}.memory .stack{grid-column:2}
.stack{position:relative;display:flex;height:22px;background:var(--panel);border-radius:4px}
.stack i{display:block;height:100%}
.stack i:first-child{border-radius:4px 0 0 4px}
.stack u{position:absolute;top:-4px;bottom:-4px;border-left:2px dashed var(--bad)}
.histogram{display:flex;align-items:flex-end;gap:1px;height:130px;border-bottom:1px solid var(--line)}
.histogram i{flex:1 1 0;min-width:1px;border-radius:2px 2px 0 0}
.histogram-axis{display:flex;justify-content:space-between;font-size:12.5px}
ul.plain{list-style:none;margin:0;padding:0}
.samples{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:12px}
.samples .card{font-size:14px}
.samples p{margin:0 0 6px}
.samples li{margin:4px 0}
.samples .query{font-weight:600}
.text{white-space:pre-wrap;overflow-wrap:anywhere}
.cut{color:var(--warn);font-weight:400;font-size:13px}
.samples span.soft{font-size:12.5px;font-weight:400}
dl.texts{padding:0;background:none;margin:0 0 6px;font-size:14px}
ul.ranks{display:flex;flex-wrap:wrap;gap:2px 18px;list-style:none;margin:0;padding:0;font-variant-numeric:tabular-nums}
.settings td{white-space:normal;vertical-align:top}
.settings td.name small{margin-left:6px}
.settings td.value{overflow-wrap:anywhere}
.compared td:first-child,.compared th:first-child{position:sticky;left:0;background:var(--ground);min-width:90px}
.compared td,.compared th{white-space:normal;min-width:110px}
.compared th bdi,.sizes th bdi{overflow-wrap:normal}
.sizes table{width:auto;min-width:min(100%,420px)}
.compared+p{margin-top:8px}
.compared td.n .soft{white-space:nowrap;font-weight:400}
code,pre{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
pre.code{margin:6px 0 14px;padding:12px 14px;background:var(--panel);border-radius:8px;overflow-x:auto}
.notices{margin:6px 0;padding-left:20px;font-size:14px;overflow-wrap:anywhere}
ul.runs{list-style:none;padding:0;margin:12px 0}
ul.runs li{margin:4px 0;overflow-wrap:anywhere}
ul.runs i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:6px}
footer{margin-top:48px;padding-top:12px;border-top:1px solid var(--line);font-size:13px}
@media (pointer:coarse){ul.legend button,button.axis{min-height:36px}}
@media (max-width:700px){.cards{grid-template-columns:repeat(2,1fr)}.memory{grid-template-columns:1fr max-content;gap:4px 12px}.memory b{grid-column:2}.memory .stack{grid-column:1/3;margin-bottom:6px}dl.texts{grid-template-columns:1fr}}
@media print{nav,figure details,.step,button.axis[aria-pressed=false],footer p:first-child:not(:last-child){display:none}section,figure,.card{break-inside:avoid}section{break-inside:auto}.chart{min-height:0}}
`;
