/** Is told how many bytes were looked at since the last time. A promise is a pause that it wants. */
export type OnBytes = (bytes: number) => Promise<void> | undefined;
