#!/usr/bin/env node
// `torpor` as npm installs it: Torpor is TypeScript, which Node reads through tsx; Deno and Bun read torpor.ts itself.
import { register } from "tsx/esm/api";

register();
await import("./torpor.ts");
