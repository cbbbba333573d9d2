/** The commands about databases, which work beside a server or without one: never through it. */
import type { Command as CliCommand } from 'commander'
import type { Progress } from '../core/command.ts'
import { counted, table } from '../core/command-text.ts'
import { configOption, examples, jsonOption } from './cli-options.ts'
import type { ProgressBar } from './progress-bar.ts'

type Watched = {
  readonly config?: string
  readonly onProgress: (progress: Progress) => void
}

/** A file with all that a server keeps. */
export type SavedFile = {
  readonly file: string
  readonly tables: readonly { readonly table: string; readonly rows: number }[]
}

export interface StorageActions {
  /** Returns a line for each table. */
  copyStorage(from: string, to: string, options: Watched): Promise<string>
  backUp(target: string, options: Watched): Promise<SavedFile>
  restore(file: string, options: Watched): Promise<SavedFile>
}

type Parts = {
  readonly calledAs: string
  readonly actions: StorageActions
  readonly progress: Pick<ProgressBar, 'show' | 'clear'>
  readonly stdout: (text: string) => void | Promise<void>
}

type Given = { readonly config?: string; readonly json?: boolean }

export function addStorageCommands(program: CliCommand, parts: Parts): void {
  const { calledAs, actions, progress, stdout } = parts
  const watched = <T>(work: (onProgress: Watched['onProgress']) => Promise<T>) =>
    work((each) => progress.show(each)).finally(() => progress.clear())
  const tell = (saved: SavedFile, { json }: Given, what: string) =>
    stdout(`${json ? JSON.stringify(saved) : savedText(saved, what)}\n`)

  program
    .command('backup')
    .description('Write everything the server keeps into a file, while it runs or not')
    .argument('<target>', 'a file that is not there yet, or a directory for it')
    .addOption(configOption())
    .addOption(jsonOption())
    .addHelpText('after', examples(calledAs, ['backup /var/backups/meerkat', 'backup before.db']))
    .action(async (target: string, { json, ...options }: Given) => {
      const work = (onProgress: Watched['onProgress']) =>
        actions.backUp(target, { ...options, onProgress })
      await tell(await watched(work), { json: json === true }, 'is complete')
    })

  program
    .command('restore')
    .description(
      'Bring a backup into the empty database of a server that does not run. Interrupted, it goes on where it was.',
    )
    .argument('<file>', 'what "backup" wrote')
    .addOption(configOption())
    .addOption(jsonOption())
    .addHelpText('after', examples(calledAs, ['restore before.db --config /etc/meerkat.toml']))
    .action(async (file: string, { json, ...options }: Given) => {
      const work = (onProgress: Watched['onProgress']) =>
        actions.restore(file, { ...options, onProgress })
      await tell(await watched(work), { json: json === true }, 'is restored')
    })

  program
    .command('storage')
    .description('Where everything is kept')
    .command('copy')
    .description(
      'Copy all data from one database to another, while no server uses either. Interrupted, it goes on where it was.',
    )
    .argument('<from>', 'its URL, as in the configuration; a path starts here')
    .argument('<to>', 'that of an empty database')
    .addOption(configOption())
    .addHelpText(
      'after',
      examples(calledAs, [
        'storage copy sqlite:data/meerkat.db postgres://meerkat@db.example.com/meerkat',
        'storage copy postgres://meerkat@db.example.com/meerkat sqlite:data/meerkat.db',
      ]),
    )
    .action(async (from: string, to: string, options: { config?: string }) => {
      const work = (onProgress: Watched['onProgress']) =>
        actions.copyStorage(from, to, { ...options, onProgress })
      await stdout(`${await watched(work)}\n`)
    })
}

function savedText({ file, tables }: SavedFile, what: string): string {
  const rows = tables.map((each) => [each.table, String(each.rows)])
  const all = tables.reduce((sum, each) => sum + each.rows, 0)
  return `${table(rows)}\n${file} ${what}: ${counted(all, 'row')}, counted on both sides.`
}
