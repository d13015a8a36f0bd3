/** Characters of all code of a function, or of what is added: a function of a megabyte is no function. */
export const CODE_CHARACTERS_MAX = 1 << 20;
/** Characters of a name. */
export const NAME_CHARACTERS_MAX = 1_024;
/** Characters of a description: it is read by people. */
export const DESCRIPTION_CHARACTERS_MAX = 4_096;
/** Functions of one module that a patch may change: beyond, restart. */
export const FUNCTIONS_MAX = 4_096;
/** Modules that a patch may change at once. */
export const UNITS_MAX = 256;
/** Names that the code of one module may refer to. */
export const SYMBOLS_MAX = 16_384;
/** Places in the code of one function that may be bound. */
export const RELOCATIONS_MAX = 65_536;
