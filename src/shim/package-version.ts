/** A letter sorts before anything else that is no digit, and `~` before the end of the version. */
const weight = (character: string | undefined): number => {
  if (character === undefined) return 0
  if (character === '~') return -1
  return /[A-Za-z]/.test(character) ? character.charCodeAt(0) : character.charCodeAt(0) + 256
}

/** @see deb-version(7), "Sorting algorithm": words and numbers by turns */
function compareParts(one: string, other: string): number {
  const split = (text: string) =>
    [...text.matchAll(/(\D*)(\d*)/g)].map(([, word = '', digits = '']) => ({ word, digits }))
  const [left, right] = [split(one), split(other)]
  for (let at = 0; at < Math.max(left.length, right.length); at += 1) {
    const [a, b] = [left[at] ?? { word: '', digits: '' }, right[at] ?? { word: '', digits: '' }]
    for (let index = 0; index < Math.max(a.word.length, b.word.length); index += 1) {
      const order = weight(a.word[index]) - weight(b.word[index])
      if (order !== 0) return order
    }
    const order = Number(a.digits) - Number(b.digits)
    if (order !== 0) return order
  }
  return 0
}

/** The version of upstream, and the distributor's revision of it, which stands behind the last hyphen. */
function partsOf(version: string): { epoch: number; upstream: string; revision: string } {
  const colon = version.indexOf(':')
  const rest = version.slice(colon + 1)
  const hyphen = rest.lastIndexOf('-')
  return {
    epoch: colon < 0 ? 0 : Number(version.slice(0, colon)),
    upstream: hyphen < 0 ? rest : rest.slice(0, hyphen),
    revision: hyphen < 0 ? '' : rest.slice(hyphen + 1),
  }
}

/** The part of a package's version that upstream has given it, with what the packagers took out: `1.1.5+ds1`. */
export const upstreamOf = (version: string): string => partsOf(version).upstream

/** Below 0 when the first is the older one. @see deb-version(7) */
export function comparePackageVersions(one: string, other: string): number {
  const [a, b] = [partsOf(one), partsOf(other)]
  return a.epoch - b.epoch || compareParts(a.upstream, b.upstream) || compareParts(a.revision, b.revision)
}
