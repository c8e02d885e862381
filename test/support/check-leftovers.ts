/** Says what the tests left on the host that names their directory, removes it, and fails when there was something. */
import { findLeftovers, listLeftovers, removeLeftovers } from './leftovers.ts'

const dir = process.argv[2]
if (dir === undefined) throw new Error('usage: check-leftovers.ts DIR')
const left = listLeftovers(await findLeftovers(dir, dir))
if (left.length === 0) console.log('test: no mount or process is left')
else {
  console.error(`test: left behind by the tests:\n${left.map((line) => `  ${line}`).join('\n')}`)
  const stays = await removeLeftovers(dir, dir)
  if (stays.length > 0) console.error(`test: cannot be removed:\n${stays.map((line) => `  ${line}`).join('\n')}`)
  process.exitCode = 1
}
