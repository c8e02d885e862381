import { parseVerifier } from '../archive/note.ts'
import { checkConsistency, checkInclusion } from '../archive/proofs.ts'
import { PurserError } from '../model/errors.ts'
import { readJsonFile, readTextFile } from './line/files.ts'
import { defineVerb } from './line/verb.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'file', count: '1', completes: 'file' }],
  options: {
    key: { value: 'file', help: 'public key of the node that signed, as purser log key prints it', completes: 'file' },
  },
  async run({ args: [file = ''], flags, format }) {
    if (flags.key === undefined)
      throw new PurserError('invalid_argument', '--key is missing', {
        remedy: 'give a copy of what purser log key printed, from a place that the host cannot alter',
      })
    const verifier = parseVerifier(await readTextFile(flags.key))
    const proof = await readJsonFile(file)
    if (typeof proof === 'object' && proof !== null && 'oldCheckpoint' in proof) {
      const { old, head } = checkConsistency(proof, verifier)
      if (format === 'table')
        process.stdout.write(
          `the log of ${head.origin} grew from ${old.size} to ${head.size} events and kept all of them\n`,
        )
      else printJson({ origin: head.origin, oldSize: old.size, size: head.size }, format)
      return 0
    }
    const { position, event, head } = checkInclusion(proof, verifier)
    if (format !== 'table') printJson({ origin: head.origin, size: head.size, position, event }, format)
    else process.stdout.write(`event ${position} is in the log of ${head.origin}, of ${head.size} events\n`)
    return 0
  },
})
