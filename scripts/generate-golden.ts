/**
 * After a new event, or a new version of one: adds an example of it to test/histories. Lines that are there stay, for they
 * stand for what logs hold.
 */
import { addGolden } from '../test/support/golden.ts'

for (const added of addGolden()) process.stdout.write(`${added}\n`)
