import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { cp, readdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { emptyDirectory } from './support/directory.ts'

const root = new URL('../', import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), 'utf8')
const SYSTEMD = '/usr/bin/systemd-analyze'

const dockerfile = read('packaging/Dockerfile')
const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, paths]) =>
  (paths as string).split(' '),
)

test('the image is made of files that are there, does not run as root, and can be told to stop', () => {
  assert.ok(copied.length > 4)
  const ignored = read('packaging/Dockerfile.dockerignore').split('\n')
  for (const path of copied) {
    assert.ok(existsSync(new URL(path, root)), `${path} is not there`)
    assert.ok(ignored.includes(`!${path}`), `${path} is not sent to the builder`)
  }
  const [, user] = /^USER (\S+)$/m.exec(dockerfile) ?? []
  assert.ok(user !== undefined && user !== 'root')
  // In the form that starts no shell, which would keep signals to itself.
  assert.match(dockerfile, /^ENTRYPOINT \["meerkat"\]$/m)
  const { engines, bin } = JSON.parse(read('package.json'))
  const releases = [...dockerfile.matchAll(/^FROM node:(\d+)/gm)].map(
    ([, release]) => `>=${release}`,
  )
  assert.deepEqual(new Set(releases), new Set([engines.node]))
  assert.match(dockerfile, new RegExp(`/opt/meerkat/${bin.meerkat} `))
})

test('the image has one Node: its own', () => {
  const installing = [...dockerfile.matchAll(/npm (?:ci|prune) .*/g)].map(([command]) => command)
  assert.equal(installing.length, 2)
  for (const command of installing) assert.match(command, / --workspaces=false /)
})

test('what is sent to the builder builds all of the server', async () => {
  const [, build] = /^RUN node (\S+)/m.exec(dockerfile) ?? []
  assert.ok(build !== undefined)
  await using directory = await emptyDirectory()
  for (const path of copied) {
    await cp(new URL(path, root), join(directory.path, path), { recursive: true })
  }
  await symlink(fileURLToPath(new URL('node_modules', root)), join(directory.path, 'node_modules'))
  const run = (...args: string[]) =>
    execFileSync(process.execPath, args, { cwd: directory.path, encoding: 'utf8' })
  run(build)
  const { bin, version } = JSON.parse(read('package.json'))
  assert.equal(run(bin.meerkat, '--version').trim(), version)
  assert.deepEqual(
    await readdir(join(directory.path, 'dist/admin/page')),
    await readdir(new URL('src/admin/page', root)),
  )
})

const withoutSystemd = existsSync(SYSTEMD) ? false : 'systemd-analyze is not installed'

test('systemd understands the unit, and finds it well locked up', { skip: withoutSystemd }, () => {
  const file = fileURLToPath(new URL('packaging/meerkat.service', root))
  const verified = execFileSync(SYSTEMD, ['verify', file], { encoding: 'utf8', stdio: 'pipe' })
  assert.equal(verified, '')
  const judged = execFileSync(SYSTEMD, ['security', '--offline=true', '--threshold=30', file], {
    encoding: 'utf8',
  })
  assert.match(judged, /Overall exposure level/)
})
