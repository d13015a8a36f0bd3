/** What a patch changes: JavaScript modules, or a WebAssembly module. */
export type PatchTarget = "js" | "wasm";
/** See `PatchTarget`; an image has their places. */
export const PATCH_TARGETS: readonly PatchTarget[] = ["js", "wasm"];

/** A patch as it is in an image. Hashes are SHA-256, in hexadecimal. */
export interface Patch {
  /** What its units are of. */
  readonly target: PatchTarget;
  /** What people call it: `loud-rooms`. */
  readonly name: string;
  /** Its own version. */
  readonly version: string;
  /** What it is for, in a sentence. */
  readonly description: string;
  /** Functions that may be replaced while they run: who is inside ends on the old code. */
  readonly safe: readonly string[];
  /** The modules it changes, all at once; none in a `wasm` patch. */
  readonly units: readonly PatchUnit[];
  /** The WebAssembly modules it changes; none in a `js` patch. */
  readonly wasm: readonly WasmUnit[];
  /** Who vouches for it. */
  readonly signature?: PatchSignature | undefined;
}

/** What a patch changes of one WebAssembly module: a shared object, and what it is bound to. */
export interface WasmUnit {
  /** What the program calls the module. */
  readonly module: string;
  /** SHA-256 of the module's bytes as they were compiled, or what an earlier patch has made of them. */
  readonly base: string;
  /** SHA-256 of base and code, one after the other: the version that it makes. */
  readonly result: string;
  /** Functions of the module that the shared object has others for, by their names. */
  readonly functions: readonly WasmPatchFunction[];
  /** What the shared object imports of the module. */
  readonly symbols: readonly WasmSymbol[];
  /** SHA-256 of `code`. */
  readonly codeHash: string;
  /** A side module with a section `dylink.0`, 4 MiB at most. */
  readonly code: Uint8Array;
}

/** A function of a shared object in place of one of its target. */
export interface WasmPatchFunction {
  /** As the target exports it, or its table of names has it. */
  readonly name: string;
  /** `(i32, i64) -> f32`, on both sides. */
  readonly type: string;
  /** Of the body that it replaces. */
  readonly oldHash: string;
}

/** What a shared object imports: a function to call, one to point to, or a variable. */
export type WasmSymbolKind = "function" | "pointer" | "data";
/** See `WasmSymbolKind`. */
export const WASM_SYMBOL_KINDS: readonly WasmSymbolKind[] = ["function", "pointer", "data"];

/** A symbol of the target that a shared object is bound to when it is applied. */
export interface WasmSymbol {
  /** Its name in the target. */
  readonly name: string;
  /** How it is bound: to a function, through GOT.func, or through GOT.mem. */
  readonly kind: WasmSymbolKind;
  /** Of a function; empty of others. */
  readonly type: string;
}

/** Ed25519 (RFC 8032). */
export interface PatchSignature {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}

/** What a patch changes of one module. */
export interface PatchUnit {
  /** The end of the module's URL: `chat/rooms.ts`. */
  readonly module: string;
  /** The module's version that it is for. */
  readonly base: string;
  /** The version that it makes of it. */
  readonly result: string;
  /** What its code refers to beyond itself; relocations name them by their place here. */
  readonly symbols: readonly PatchSymbol[];
  /** Functions in place of others, and methods that are new. */
  readonly functions: readonly PatchFunction[];
  /** Declarations that the module gets. */
  readonly added: AddedCode | undefined;
}

/** Where a symbol lives. */
export const SYMBOL_SCOPES: readonly SymbolScope[] = [
  "module",
  "import",
  "closure",
  "added",
  "global",
  "meta",
];
/** See `SYMBOL_SCOPES`. */
export type SymbolScope = "module" | "import" | "closure" | "added" | "global" | "meta";
/** What a symbol is declared as. */
export const SYMBOL_KINDS: readonly SymbolKind[] = [
  "const",
  "let",
  "var",
  "function",
  "class",
  "import",
  "parameter",
  "unknown",
];
/** See `SYMBOL_KINDS`. */
export type SymbolKind = "const" | "let" | "var" | "function" | "class" | "import" | "parameter" | "unknown";

/** A name that a patch's code refers to, and what it must be in the target. */
export interface PatchSymbol {
  /** As the code says it. */
  readonly name: string;
  /**
   * `module`: a declaration of the module; `import`: one of its imports; `closure`: a variable of the function around it;
   * `added`: declared or imported by the patch; `global`: none of the module; `meta`: `import.meta` and `import()`.
   */
  readonly scope: SymbolScope;
  /** What it must be declared by. */
  readonly kind: SymbolKind;
  /** Parameters of a function, by `length`; -1 of everything else. */
  readonly arity: number;
  /** Of an import, module and name there: `./rooms.ts#Room`; else empty. */
  readonly from: string;
}

/**
 * How a place in the code is bound. `name`: an identifier, `shorthand`: one that is a property's name too, `call`: one that
 * is called, `enter` and `leave`: where a body begins and ends that is counted while it runs, in two ways.
 */
export const RELOCATION_FORMS: readonly RelocationForm[] = [
  "name",
  "shorthand",
  "call",
  "enter",
  "leave",
  "enterExpression",
  "leaveExpression",
];
/** See `RELOCATION_FORMS`. */
export type RelocationForm =
  | "name"
  | "shorthand"
  | "call"
  | "enter"
  | "leave"
  | "enterExpression"
  | "leaveExpression";

/** A place in the code that is bound when the patch is applied, as a linker does. */
export interface Relocation {
  /** Where, in UTF-16 units. */
  readonly offset: number;
  /** How much of the code it takes the place of. */
  readonly length: number;
  /** Which of the unit's symbols; 0 of those that count. */
  readonly symbol: number;
  /** How it is bound. */
  readonly form: RelocationForm;
}

/** Code with places that are bound when it is applied. */
export interface RelocatableCode {
  /** JavaScript. */
  readonly code: string;
  /** By offset. */
  readonly relocations: readonly Relocation[];
}

/** What kind of function it is: callers see that. */
export const FUNCTION_KINDS: readonly FunctionKind[] = [
  "function",
  "arrow",
  "method",
  "get",
  "set",
  "constructor",
];
/** See `FUNCTION_KINDS`. */
export type FunctionKind = "function" | "arrow" | "method" | "get" | "set" | "constructor";

/** A function of a patch. */
export interface PatchFunction extends RelocatableCode {
  /** Its name in the module: `Room.prototype.say`, `makeCounter/(0)`. */
  readonly id: string;
  /** A method that its class has not had. */
  readonly isNew: boolean;
  /** What it is to its callers. */
  readonly kind: FunctionKind;
  /** Whether it is async. */
  readonly isAsync: boolean;
  /** Whether it is a generator. */
  readonly isGenerator: boolean;
  /** `length`. */
  readonly arity: number;
  /** Of what it replaces; empty of one that is new. */
  readonly oldHash: string;
  /** Of its own tokens. */
  readonly newHash: string;
}

/** Declarations that a module gets. They are evaluated once, when the patch is applied. */
export interface AddedCode extends RelocatableCode {
  /** What they declare. */
  readonly names: readonly AddedName[];
  /** Modules that they need: `a` of `import { a } from "b"` is `{ name: "a", from: "b#a" }`. */
  readonly imports: readonly { readonly name: string; readonly from: string }[];
}

/** A name that a patch declares. */
export interface AddedName {
  /** What it is called. */
  readonly name: string;
  /** What it is declared by. */
  readonly kind: SymbolKind;
  /** As `PatchSymbol.arity`. */
  readonly arity: number;
}
