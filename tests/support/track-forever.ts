/** `node track-forever.js PID TRACKER`: tracks a process in this very process, looking again and again, until it is killed. */
import { openLinuxKernel } from '#dist/linux/linux-kernel.js'
import { Tracking } from '#dist/tracking/tracking.js'
import type { TrackerName } from 'tidemark'

const [pid, tracker] = process.argv.slice(2)
const kernel = openLinuxKernel()
const target = kernel.openProcess(Number(pid))
process.stdout.write('begins\n')
const tracking = new Tracking(kernel, target, { trackers: [tracker as TrackerName], freezeTimeoutNs: 1e9 })
for (;;) {
  tracking.serve(1e6)
  tracking.collect()
}
