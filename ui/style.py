"""CSS of the page: what the theme lacks, for light and dark. No font or image is fetched."""

from __future__ import annotations

STYLE = """
:root { --ssvd-bar: #99f6e4; --ssvd-quiet: #475569; }
/* --ssvd-quiet: 7:1 on white; the theme's own subdued colour is 2.6:1 */
.dark { --ssvd-quiet: #cbd5e1; --ssvd-bar: #115e59; }
#ssvd-outcome, #ssvd-note, #ssvd-about, #ssvd-lanes, .ssvd-flush { padding: 0 !important; }
.ssvd-header h1 { font-size: 1.75rem; line-height: 1.2; font-weight: 700; margin: 0.5rem 0; }
.ssvd-header p { max-width: 46rem; color: var(--ssvd-quiet); font-size: 1.05rem; margin: 0; }
h2 { font-size: 1.15rem; font-weight: 600; margin: 0; }

.ssvd-hint { color: var(--ssvd-quiet); margin: 0.25rem 0; }
.ssvd-problem {
  border-left: 4px solid #d97706; background: var(--background-fill-secondary);
  padding: 0.75rem 1rem; border-radius: 6px; margin: 0.5rem 0; overflow-wrap: anywhere;
}

.ssvd-said, .ssvd-card {
  background: var(--block-background-fill); border: 1px solid var(--border-color-primary);
  border-radius: 10px; padding: 0.9rem 1.1rem;
}
.ssvd-said { margin-bottom: 1rem; background: var(--background-fill-secondary); }
.ssvd-cards {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); gap: 1rem;
}
.ssvd-card h3, .ssvd-said h3 {
  font-size: 0.95rem; font-weight: 600; margin: 0 0 0.4rem; color: var(--ssvd-quiet);
}
.ssvd-domain { border-top: 4px solid #0d9488; }
.ssvd-base { border-top: 4px solid #94a3b8; }
.ssvd-text { font-size: 1.3rem; line-height: 1.75; margin: 0; overflow-wrap: anywhere; }
.ssvd-silence { color: var(--ssvd-quiet); font-style: italic; }
.ssvd-score { margin: 0.5rem 0 0; font-size: 0.95rem; color: var(--ssvd-quiet); }

/* Bold and underlined as well as coloured: colour alone is not seen by everyone. */
.ssvd-wrong, .ssvd-differs { padding: 0.05em 0.25em; border-radius: 4px; font-weight: 600; }
.ssvd-wrong { background: #fee2e2; color: #7f1d1d; text-decoration: underline wavy #b91c1c 1px; }
.ssvd-differs { background: #e2e8f0; color: #0f172a; text-decoration: underline #475569 2px; }
.ssvd-missing { color: var(--ssvd-quiet); font-style: italic; }
.ssvd-hint progress {
  vertical-align: middle; width: 12rem; height: 0.6rem; border-radius: 4px; overflow: hidden;
}
.ssvd-hint progress::-webkit-progress-bar { background: var(--border-color-primary); }
.ssvd-hint progress::-webkit-progress-value { background: #0f766e; }
.ssvd-hint progress::-moz-progress-bar { background: #0f766e; }
.ssvd-legend { margin: 0.75rem 0 0; color: var(--ssvd-quiet); }
.ssvd-problem details { margin-top: 0.4rem; color: var(--ssvd-quiet); font-size: 0.95rem; }
.ssvd-problem summary { cursor: pointer; }

/* A word is read as text; that it can be played shows under the pointer and in the focus. */
[data-start-s], .ssvd-files button {
  color: inherit; background: none; border: 0; margin: 0; box-shadow: none !important; cursor: pointer;
}
[data-start-s] { border-radius: 4px; text-align: left; }
[data-start-s]:hover { background: var(--border-color-primary); }
[data-start-s]:focus-visible, .ssvd-files > :focus-visible {
  outline: 2px solid #0d9488; outline-offset: 1px;
}
.ssvd-card [data-start-s] { font: inherit; padding: 0; text-decoration: inherit; }

#ssvd-lanes { container-type: inline-size; }
.ssvd-lane {
  display: grid; grid-auto-flow: row dense; grid-template-columns: repeat(var(--columns), minmax(0, 1fr));
  border-top-width: 3px; border-top-style: solid; padding: 0.15rem 0 0.5rem;
}
.ssvd-lane-title { grid-column: 1 / -1; font-size: 0.8rem; color: var(--ssvd-quiet); }
.ssvd-lane [data-start-s] {
  font-size: clamp(0.6rem, 2.8cqi, 0.8rem); font-weight: 400; line-height: 1.4; align-self: start;
  padding: 0 0.15rem; margin: 0 0 0.15rem; border-left: 2px solid var(--border-color-primary);
  border-radius: 0; overflow: hidden; white-space: nowrap; text-overflow: ellipsis;
}

.ssvd-found {
  background: var(--background-fill-secondary); border: 1px solid var(--border-color-primary);
  border-radius: 10px; padding: 0.9rem 1.1rem; margin-bottom: 1rem;
}
.ssvd-found h3 { font-size: 1.05rem; font-weight: 600; margin: 0 0 0.3rem; overflow-wrap: anywhere; }
.ssvd-found p { font-size: 0.95rem; color: var(--ssvd-quiet); margin: 0 0 0.4rem; }
.ssvd-found summary { cursor: pointer; padding: 0.15rem 0; overflow-wrap: anywhere; }
.ssvd-bars { list-style: none; margin: 0; padding: 0; }
.ssvd-candidate {
  display: grid; grid-template-columns: minmax(7rem, 1fr) minmax(8rem, 2fr) minmax(7rem, 2fr);
  gap: 0.6rem; align-items: center; padding: 0.15rem 0; font-size: 0.95rem; overflow-wrap: anywhere;
}
@media (max-width: 30rem) {  /* a phone: the name above its bar */
  .ssvd-candidate { grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); }
  .ssvd-candidate > :first-child { grid-column: 1 / -1; }
}
.ssvd-chosen { font-weight: 700; }  /* it also says so, after a tick */
.ssvd-bar {
  border: 1px solid var(--ssvd-quiet); border-radius: 4px; padding: 0 0.4rem;
  background: linear-gradient(to right, var(--ssvd-bar) var(--share), transparent var(--share));
}
.ssvd-unknown { color: var(--ssvd-quiet); font-style: italic; font-weight: 400; }

.ssvd-files { margin: 0.75rem 0 0; font-size: 0.95rem; color: var(--ssvd-quiet); }
.ssvd-files a, .ssvd-files button {
  color: inherit; font: inherit; text-decoration: underline; cursor: pointer; margin-left: 0.5rem; padding: 0;
}
.ssvd-files [aria-busy=true] { opacity: 0.5; cursor: progress; }

.ssvd-warnings { font-size: 0.95rem; margin: 0.75rem 0 0; padding-left: 1.2rem; list-style: disc; }
.ssvd-provenance {
  font-size: 0.85rem; color: var(--ssvd-quiet); margin: 0.75rem 0 0; overflow-wrap: anywhere;
}
.ssvd-provenance code, .ssvd-note code { font-size: 0.95em; }
.ssvd-note {
  font-size: 0.95rem; color: var(--ssvd-quiet); max-width: 46rem;
  border-top: 1px solid var(--border-color-primary); padding-top: 0.75rem;
  margin-top: 1rem; overflow-wrap: anywhere;
}

.ssvd-domain-row { align-items: flex-end; }
#ssvd-refresh { min-height: 2.4rem; margin-right: calc(var(--spacing-xl) + 2px); }
#ssvd-go, #ssvd-cancel, #ssvd-other { margin-inline: calc(var(--spacing-xl) + 2px); width: auto; }
"""
