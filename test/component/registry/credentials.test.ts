import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Secret } from '../../../src/model/secret.ts'
import { parseRegistryAuth } from '../../../src/oci/registry-auth.ts'
import { kubeletCredentials } from '../../../src/registry/kubelet-providers.ts'
import { matchesImage } from '../../../src/registry/match-image.ts'

const PROVIDER = {
  name: 'plugin',
  matchImages: ['*.example'],
  defaultCacheDuration: '0s',
  apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
}
const answer = (more: object) => ({
  apiVersion: PROVIDER.apiVersion,
  kind: 'CredentialProviderResponse',
  cacheKeyType: 'Image',
  auth: { 'a.example': { username: 'ci', password: 'word' } },
  ...more,
})

/** Asks for a.example/x with this plugin. */
async function ask(script: string, more: object = {}, timeoutMs?: number) {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'purser-providers-'))
  const config = join(dir.path, 'config.json')
  const document = { apiVersion: 'kubelet.config.k8s.io/v1', kind: 'CredentialProviderConfig' }
  await writeFile(config, JSON.stringify({ ...document, providers: [{ ...PROVIDER, ...more }] }))
  await mkdir(join(dir.path, 'bin'))
  await writeFile(join(dir.path, 'bin/plugin'), `#!/bin/sh\ncat >/dev/null; ${script}\n`)
  await chmod(join(dir.path, 'bin/plugin'), 0o755)
  const source = kubeletCredentials({ config, binDir: join(dir.path, 'bin'), ...(timeoutMs ? { timeoutMs } : {}) })
  return await source({ registry: 'a.example', repository: 'x', refused: false }, AbortSignal.timeout(20_000))
}

test('a pattern is for the images that kubelet takes it for', () => {
  const yes: readonly (readonly [string, string])[] = [
    ['123.dkr.ecr.us-east-1.amazonaws.com', '123.dkr.ecr.us-east-1.amazonaws.com/app'],
    ['*.azurecr.io', 'team.azurecr.io/app'],
    ['app*.k8s.io', 'app-one.k8s.io/x'],
    ['*.*.registry.io', 'a.b.registry.io/x'],
    ['registry.io:8080/path', 'registry.io:8080/path/app'],
    ['gcr.io', 'gcr.io/google/x'],
  ]
  const no: readonly (readonly [string, string])[] = [
    ['*.io', 'x.k8s.io/app'],
    ['*.azurecr.io', 'azurecr.io/app'],
    ['gcr.io', 'gcr.io:5000/x'],
    ['gcr.io:5000', 'gcr.io/x'],
    ['registry.io/path', 'registry.io/other'],
    ['gcr.io', 'gcrxio/x'],
    ['[a-z].io', 'a.io/x'],
  ]
  for (const [pattern, image] of yes) assert.ok(matchesImage(pattern, image), `${pattern} ${image}`)
  for (const [pattern, image] of no) assert.ok(!matchesImage(pattern, image), `${pattern} ${image}`)
})

test('a plugin gives a user and a password, or nothing', async () => {
  const found = await ask(`echo '${JSON.stringify(answer({}))}'`)
  assert.equal(found?.kind === 'password' && found.password.reveal(), 'word')
  assert.equal(await ask(`echo '${JSON.stringify(answer({ auth: {} }))}'`), undefined)
  assert.equal(await ask('exit 9', { matchImages: ['other.example'] }), undefined, 'it is not run')
})

test('a plugin that fails, hangs, or answers something else is named, without what it says', async () => {
  const cases: readonly (readonly [string, RegExp, object?, number?])[] = [
    ['echo secret; exit 3', /plugin failed with exit status 3/],
    ['echo secret; exec sleep 60', /did not answer within 300 ms/, {}, 300],
    ['echo secret; sleep 8; true', /did not answer within 300 ms/, {}, 300],
    ['echo secret', /not understood/],
    [`echo '${JSON.stringify(answer({ apiVersion: 'credentialprovider.kubelet.k8s.io/v2' }))}'`, /another version/],
    [`echo '${JSON.stringify(answer({ cacheKeyType: 'Never' }))}'`, /not understood/],
    ['head -c 3000000 /dev/zero', /more than anyone/],
    ['true', /providers\.0\.tokenAttributes: there are no service accounts/, { tokenAttributes: {} }],
    ['true', /providers\.0\.defaultCacheDuration: write a duration/, { defaultCacheDuration: 'long' }],
    ['true', /config\.json cannot be used: providers\.0\.name/, { name: '../bin/plugin' }],
    ['true', /is not installed/, { name: 'absent' }],
  ]
  for (const [script, says, more, timeoutMs] of cases) {
    await assert.rejects(ask(script, more, timeoutMs), (error: Error & { code: string }) => {
      assert.equal(error.code, 'failed_precondition')
      assert.match(error.message, says)
      assert.doesNotMatch(error.message, /secret/)
      return true
    })
  }
})

test('X-Registry-Auth is read as Docker writes it', () => {
  const read = (value: object | string) =>
    parseRegistryAuth(
      new Secret(typeof value === 'string' ? value : Buffer.from(JSON.stringify(value)).toString('base64url')),
    )
  assert.deepEqual(read({ username: 'u', password: 'p' }).server, undefined)
  assert.equal(read({ username: 'u', serveraddress: 'https://index.docker.io/v1/' }).server, 'docker.io')
  assert.equal(read({ identitytoken: 't', serveraddress: 'reg.lan:5000' }).credentials.kind, 'identity-token')
  assert.equal(read({ registrytoken: 't' }).credentials.kind, 'registry-token')
  const { credentials } = read({ auth: Buffer.from('u:p:q').toString('base64') })
  assert.equal(credentials.kind === 'password' && credentials.password.reveal(), 'p:q')
  for (const bad of ['', '!', Buffer.from('secret').toString('base64url'), 'x'.repeat(100_000)])
    assert.throws(() => read(bad), /X-Registry-Auth cannot be used: it is not a JSON object/)
  assert.throws(() => read({ password: 'secret' }), /no username and password/)
})
