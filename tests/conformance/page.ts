import { type Requirement, REQUIREMENTS } from "./requirements.ts";
import { IP_RFCS, type Rfc, TCP_RFCS } from "./rfcs.ts";
import { requirementsNamed, rfcsNamed, type Title } from "./titles.ts";

const HEAD = `# Conformance

Which requirements of RFC 9293 the stack fulfils, and which tests show it; then the other documents. This page is
printed from the titles of the tests by \`npm run conformance\`; a test fails when it is not what that prints.
The levels are those of the text: MUST, SHOULD and MAY as RFC 2119 means them.
`;

/** docs/conformance.md. */
export function conformancePage(titles: readonly Title[]): string {
  const requirements = REQUIREMENTS.map((requirement) => {
    const shown = titles.filter(({ text }) => requirementsNamed(text).includes(requirement.id));
    return row(
      requirement.id,
      requirement.level,
      requirement.section,
      requirement.text,
      stateOf(requirement, shown),
      links(shown),
    );
  });
  const rfcs = (list: readonly Rfc[]): string[] =>
    list.map((rfc) => {
      const shown = titles.filter(({ text }) => rfcsNamed(text).includes(rfc.number));
      const state = rfc.missing ?? (shown.length > 0 ? "done" : "not done");
      return row(`RFC ${rfc.number}`, rfc.title, state, links(shown));
    });
  const listed = new Set([...TCP_RFCS, ...IP_RFCS].map(({ number }) => number).concat(9293));
  const others = new Set(
    titles.flatMap(({ file, text }) => file.startsWith("tests/net/") ? rfcsNamed(text) : []),
  );
  const unlisted = [...others].filter((number) => !listed.has(number)).sort((a, b) => a - b);
  const heads = ["Document", "About", "State", "Shown by"];
  return [
    HEAD,
    "## RFC 9293\n",
    summary(titles),
    "",
    ...table(["Id", "Level", "Section", "Requirement", "State", "Shown by"], requirements),
    "\n## Other documents about TCP\n",
    ...table(heads, rfcs(TCP_RFCS)),
    "\n## Documents about IP and what lies around it\n",
    ...table(heads, rfcs([...IP_RFCS, ...unlisted.map((number) => ({ number, title: "" }))])),
    "",
  ].join("\n");
}

function stateOf({ without, asFar }: Requirement, shown: readonly Title[]): string {
  if (without !== undefined) return `${without.state}: ${without.reason}`;
  if (shown.length === 0) return "not done";
  return asFar === undefined ? "done" : `done ${asFar}`;
}

function summary(titles: readonly Title[]): string {
  const named = new Set(titles.flatMap(({ text }) => requirementsNamed(text)));
  const left = REQUIREMENTS.filter(({ without }) => without !== undefined);
  const done = REQUIREMENTS.filter(({ id, without }) => without === undefined && named.has(id));
  return `${done.length} of ${REQUIREMENTS.length} requirements are done and shown; ${left.length} are left out for the reasons given.`;
}

function table(heads: string[], rows: string[]): string[] {
  return [row(...heads), row(...heads.map(() => "---")), ...rows];
}

function row(...cells: string[]): string {
  return `| ${cells.join(" | ")} |`;
}

/** Each test as a link to its file, without the ids that every line of the page repeats. */
function links(shown: readonly Title[]): string {
  return shown.map(({ file, text }) => {
    const plain = text.replace(/\s*\((?:(?:MUST|SHLD|MAY|REC)-\d+(?:, )?)+\)/g, "")
      .replace(/[[\]|\\<>*_]/g, (mark) => `&#${mark.charCodeAt(0)};`).replace(/\s+/g, " ");
    return `[${plain}](../${file})`;
  }).join("<br>");
}
