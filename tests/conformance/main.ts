/** Writes docs/conformance.md: `npm run conformance`. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { conformancePage } from "./page.ts";
import { allTitles, root } from "./titles.ts";

writeFileSync(join(root, "docs/conformance.md"), conformancePage(allTitles()));
