/**
 * A process whose communication thread never comes back from MPI, beside one of the number that its word names: the test
 * of what then ends it needs no MPI.
 */
import { Leaving, ownProcess } from '../../src/ranks/mpi/leaving.js';

const own = ownProcess('here');
const leaving = new Leaving();
leaving.initialised();
leaving.guard({ rank: 0, host: 'here' }, [own, { ...own, pid: Number(process.argv[2]) }], 1);
setInterval(() => {}, 1000);
