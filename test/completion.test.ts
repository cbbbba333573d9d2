import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { runCli } from '../src/admin/cli.ts'
import { commandsWith } from '../src/admin/commands.ts'
import type { Shell } from '../src/admin/completion.ts'
import { plain } from '../src/admin/stream-command.ts'
import { streams } from '../src/admin/streams.ts'
import { modules } from '../src/modules.ts'

const directory = mkdtempSync(join(tmpdir(), 'meerkat-completion-'))
after(() => rmSync(directory, { recursive: true }))

const without = (shell: Shell) =>
  [`/bin/${shell}`, `/usr/bin/${shell}`].some((path) => existsSync(path))
    ? false
    : `${shell} is not installed`

const unused = () => assert.fail('nothing is to be run')

async function scriptFor(shell: Shell): Promise<string> {
  let text = ''
  const code = await runCli(['completion', shell], {
    version: '1.2.3',
    calledAs: 'meerkat',
    directory: '/',
    commands: commandsWith(modules),
    streams,
    paint: plain,
    actions: {
      start: unused,
      run: unused,
      follow: unused,
      checkConfig: unused,
      printConfigSchema: unused,
      copyStorage: unused,
      restore: unused,
      readSecret: unused,
      readFile: unused,
    },
    progress: { show() {}, clear() {} },
    stdout: (written) => {
      text += written
    },
    stderr: (written) => assert.fail(written),
  })
  assert.equal(code, 0)
  const path = join(directory, shell)
  writeFileSync(path, text)
  return path
}

/** What is typed, with the cursor at its end, and what is offered: all of that, or some. */
const cases: readonly [typed: string, offered: readonly string[], isAll: boolean][] = [
  ['meerkat acc', ['account'], true],
  ['meerkat account r', ['register', 'remove'], true],
  ['meerkat account --', ['--help'], false],
  ['meerkat account register --', ['--password', '--config', '--json'], false],
  ['meerkat account register alice@localhost --pa', ['--password'], true],
  ['meerkat token create x --role re', ['read-only'], true],
  ['meerkat completion f', ['fish'], true],
  ['meerkat s2s ', ['list', 'close'], false],
]

function check(shell: Shell, complete: (typed: string) => string): void {
  for (const [typed, offered, isAll] of cases) {
    const found = complete(typed)
      .split('\n')
      .map((line) => line.split('\t')[0] ?? '')
      .filter((word) => word !== '')
    const about = `${shell}: ${typed}: ${found.join(' ')}`
    if (isAll) assert.deepEqual(found.toSorted(), offered.toSorted(), about)
    else
      assert.deepEqual(
        offered.filter((word) => !found.includes(word)),
        [],
        about,
      )
  }
}

test('bash completes commands, options and their values', { skip: without('bash') }, async () => {
  const script = await scriptFor('bash')
  check('bash', (typed) => {
    const words = typed.split(' ').map((word) => `'${word}'`)
    const source = `source ${script}; COMP_WORDS=(${words.join(' ')}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
      _meerkat; printf '%s\\n' "\${COMPREPLY[@]}"`
    return execFileSync('bash', ['--norc', '-c', source], { encoding: 'utf8' })
  })
})

test('fish completes commands, options and their values', { skip: without('fish') }, async () => {
  const script = readFileSync(await scriptFor('fish'), 'utf8')
  const env = { ...process.env, HOME: directory, XDG_CONFIG_HOME: directory }
  check('fish', (typed) => {
    const source = `source ${script}; complete -C '${typed}'`
    return execFileSync('fish', ['--no-config', '-c', source], { encoding: 'utf8', env })
  })
})

test('zsh takes the script', { skip: without('zsh') }, async () => {
  const script = await scriptFor('zsh')
  const source = `autoload -U compinit && compinit -u -d ${join(directory, 'dump')}
    source ${script}; print -- $_comps[meerkat]`
  const env = { ...process.env, HOME: directory, ZDOTDIR: directory }
  const written = execFileSync('zsh', ['-f', '-c', source], { encoding: 'utf8', env })
  assert.match(written, /_bash_complete.* -F _meerkat/)
})

test('each group of commands says what it is about', async () => {
  const script = readFileSync(await scriptFor('fish'), 'utf8')
  const words = commandsWith(modules).flatMap(({ name }) => name.split(' ').slice(0, -1))
  for (const group of new Set(words)) {
    const bare = new RegExp(`-a ${group} -d '?${group}'?$`, 'm')
    assert.doesNotMatch(script, bare)
  }
})
