export const IDENTIFIER_CHARACTERS_MAX = 76
export const IDENTIFIER_FORM = /^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$/

/** Whether a text is what the schema `identifier` takes: for those who must not load zod. */
export const isIdentifier = (text: string): boolean =>
  text.length <= IDENTIFIER_CHARACTERS_MAX && IDENTIFIER_FORM.test(text)
