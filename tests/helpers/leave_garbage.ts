/**
 * graft collects garbage so that its process stays small. The process of tests need not be small, and
 * with the garbage the engine drops compiled code, which the next test then needs again.
 */
Object.assign(globalThis, { gc: () => {} });
