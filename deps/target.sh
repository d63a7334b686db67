# shellcheck shell=sh disable=SC2034 # whoever sources it uses what it sets
# Sourced, in the folder above: what building for another architecture takes in Debian, where libraries
# of several lie beside one another. Reads $TARGETARCH as Docker calls it: amd64, arm64 or arm, or empty
# for this machine's own. Sets
#   debian    Debian's name for it
#   triplet   what the compiler's and the libraries' names contain
#   foreign   empty, or `:debian`, which asks for a package of that architecture
#   cmake     what CMake has to be told
# target_packages SET ... prints the packages of these sets.
here=$(dpkg --print-architecture)
case ${TARGETARCH:-$here} in
arm | armhf) debian=armhf triplet=arm-linux-gnueabihf processor=armv7l ;;
arm64) debian=arm64 triplet=aarch64-linux-gnu processor=aarch64 ;;
amd64) debian=amd64 triplet=x86_64-linux-gnu processor=x86_64 ;;
*)
    echo "no cross compiler is known here for $TARGETARCH" >&2
    exit 2
    ;;
esac
foreign='' cmake=''
if [ "$debian" != "$here" ]; then
    foreign=:$debian
    cmake="-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=$processor
        -DCMAKE_C_COMPILER=/usr/bin/$triplet-gcc -DCMAKE_LIBRARY_ARCHITECTURE=$triplet
        -DPKG_CONFIG_EXECUTABLE=/usr/bin/$triplet-pkg-config"
fi

# Libraries are the other architecture's; what makes code of code is this one's.
target_packages() {
    for set in "$@"; do
        # shellcheck disable=SC2013 # words are wanted
        for package in $(sed -n "s/^$set: //p" deps/packages.txt); do
            case $package in
            gcc) echo "gcc${foreign:+-$(echo "$triplet" | tr _ -)}" ;; # names have no underscore
            lib*-dev) echo "$package$foreign" ;;
            *) echo "$package" ;;
            esac
        done
    done
}
