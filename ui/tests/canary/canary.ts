// One error of types, which the checker must report: tests/check.mjs.
export const wrong: number = 'a text';
