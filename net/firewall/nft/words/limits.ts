/** Characters of a document: rule files of a hundred thousand lines pass, and what is parsed stays a few hundred megabytes. */
export const DOCUMENT_CHARACTERS_MAX = 16 * 1024 * 1024;
/** Commands in a document, and rules in a rule set: nft itself is slow long before. */
export const COMMANDS_MAX = 262_144;
/** Elements of one set, as nft's own default for sets that packets fill (65535) times sixteen. */
export const ELEMENTS_MAX = 1_048_576;
/** Statements in a rule: the kernel's rules hold 16 KiB of expressions. */
export const STATEMENTS_MAX = 64;
/** Expressions inside one another, and variables, includes and sets inside sets: recursion ends before the stack does. */
export const DEPTH_MAX = 32;
/** Parts of a concatenation (NFT_REG32_COUNT words of the kernel hold five of an address each). */
export const CONCAT_MAX = 5;
/** Characters of names of tables, chains, sets and objects (NFT_NAME_MAXLEN). */
export const NAME_CHARACTERS_MAX = 255;
/** Characters of a comment (NFTNL_UDATA_COMMENT_MAXLEN). */
export const COMMENT_CHARACTERS_MAX = 128;
/** Characters of a log's prefix (NF_LOG_PREFIXLEN less its end). */
export const LOG_PREFIX_CHARACTERS_MAX = 127;
/** Characters of an interface's name (IFNAMSIZ less its end). */
export const INTERFACE_CHARACTERS_MAX = 15;
/** Chains in a table, and sets, counters, quotas and limits each: they are found by looking through them while a file is read. */
export const NAMES_MAX = 16_384;
