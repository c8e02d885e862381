import { candidates } from './line/candidates.ts'
import { defineVerb } from './line/verb.ts'

/** Hidden: what the scripts of `purser completion` ask. */
export const verb = defineVerb({
  args: [{ name: 'words', count: '0-' }],
  options: {},
  passThrough: 'first-argument',
  async run({ args, verbs, client }) {
    const words = args[0] === '--' ? args.slice(1) : args
    for (const { word, help } of await candidates(words, verbs, client)) {
      process.stdout.write(help === undefined ? `${word}\n` : `${word}\t${help}\n`)
    }
    return 0
  },
})
