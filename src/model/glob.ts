/** A matcher of names: `*` stands for any characters, all else for itself; its time is linear in the name's length. */
export function glob(pattern: string): (text: string) => boolean {
  const [first = '', ...rest] = pattern.split('*')
  const last = rest.pop()
  if (last === undefined) return (text) => text === pattern
  return (text) => {
    if (!text.startsWith(first)) return false
    let at = first.length
    for (const part of rest) {
      const found = text.indexOf(part, at)
      if (found < 0) return false
      at = found + part.length
    }
    return text.length - last.length >= at && text.endsWith(last)
  }
}

/** Whether any of them matches; with none, everything does. */
export function anyGlob(patterns: readonly string[]): (text: string) => boolean {
  if (patterns.length === 0) return () => true
  const matchers = patterns.map(glob)
  return (text) => matchers.some((matches) => matches(text))
}
