/**
 * Makes a program's modules patchable as Node loads them:
 *
 *     node --import @torpor/torpor/patching/load/node.ts server.js
 *
 * TypeScript is taken as well, on every version of Node, as long as types are all that it adds. Which modules, says
 * `TORPOR_PATCHABLE`.
 *
 * @module
 */
import { register } from "node:module";

register("./node_hooks.ts".replace(/ts$/, import.meta.url.slice(-2)), import.meta.url);
