import { findVerb } from './line/find-verb.ts'
import { globals } from './line/globals.ts'
import { ABOUT, listHelp, verbHelp } from './line/help.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'verb', count: '0-', completes: 'verb' }],
  options: {},
  async run({ args, verbs }) {
    const found = findVerb(args, verbs, globals)
    const { path } = found
    process.stdout.write(
      'listed' in found
        ? verbHelp(path, found.listed.summary, (await found.listed.load()).verb, globals)
        : listHelp(path, found.summary || ABOUT, found.list, globals),
    )
    return 0
  },
})
