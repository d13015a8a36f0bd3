/** What survives a process: images, stores, and the sleep walk. @module */
export {};
