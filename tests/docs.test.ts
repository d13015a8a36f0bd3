import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const pages = [
  ...readdirSync(root).filter((name) => name.endsWith(".md")),
  ...readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`),
  ...readdirSync(join(root, "docs/decisions")).map((name) => `docs/decisions/${name}`),
];

/** Links of a page: what they call the thing, and where they say that it is. */
function linksOf(page: string): { text: string; path: string }[] {
  const text = readFileSync(join(root, page), "utf8");
  return [...text.matchAll(/\[([^\]]+)\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
    .map(([, text, path]) => ({ text: text!, path: path! }))
    .filter(({ path }) => !/^[a-z]+:/.test(path));
}

test.each(pages)("every link of %s leads somewhere, and what it names is there", (page) => {
  for (const { text, path } of linksOf(page)) {
    const target = join(root, dirname(page), path);
    expect(existsSync(target), `${page}: ${path}`).toBe(true);
    const name = /^`(?:\w+\.)?(\w+)`$/.exec(text)?.[1];
    if (name === undefined || !path.endsWith(".ts")) continue;
    const defined = new RegExp(
      `(function|class|interface|const|async|readonly)\\s+${name}\\b|^  (?:async |static async )?${name}\\(`,
      "m",
    );
    expect(readFileSync(target, "utf8"), `${page}: ${path} defines ${name}`).toMatch(defined);
  }
});

test("no page and no source names a machine's path", () => {
  for (const page of pages) {
    expect(readFileSync(join(root, page), "utf8"), page).not.toMatch(/\/(home|root|work)\//);
  }
});
