import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { appArmorParser, loadProfile } from '../../../src/host/apparmor.ts'
import { APPARMOR_DEFAULT_TEXT } from '../../../src/oci/spec/apparmor-profile.ts'

const parser = appArmorParser()

test("AppArmor's parser takes the default profile", { skip: parser === undefined && 'needs apparmor_parser' }, () => {
  const options = ['--skip-kernel-load', '--skip-cache', '--skip-read-cache']
  execFileSync(parser ?? '', options, { input: APPARMOR_DEFAULT_TEXT, stdio: ['pipe', 'ignore', 'pipe'] })
})

test('a profile that is not taken is told with what the parser says', async () => {
  await assert.rejects(loadProfile('/bin/false', 'profile x {', AbortSignal.timeout(10_000)), {
    code: 'failed_precondition',
    remedy: /apparmor=unconfined/,
  })
})
