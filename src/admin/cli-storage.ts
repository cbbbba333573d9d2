/** The commands about databases that no server uses. */
import type { Command as CliCommand } from 'commander'
import type { Progress } from '../core/command.ts'
import { counted, table } from '../core/command-text.ts'
import { configOption, examples, jsonOption } from './cli-options.ts'
import type { SavedFile } from './commands/backup.ts'
import type { ProgressBar } from './progress-bar.ts'

type Watched = {
  readonly config?: string
  readonly onProgress: (progress: Progress) => void
}

export interface StorageActions {
  /** Returns a line for each table. */
  copyStorage(from: string, to: string, options: Watched): Promise<string>
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
      const saved = await watched(work)
      await stdout(`${json ? JSON.stringify(saved) : restoredText(saved)}\n`)
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

function restoredText({ file, tables }: SavedFile): string {
  const rows = tables.map((each) => [each.table, String(each.rows)])
  const all = tables.reduce((sum, each) => sum + each.rows, 0)
  return `${table(rows)}\n${file} is restored: ${counted(all, 'row')}, counted on both sides.`
}
