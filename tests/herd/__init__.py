"""Real daemons against the simulation's prediction: `./dev herd --daemons`. (The C files beside this
are `./dev herd`, one daemon among members that one process plays.)"""
