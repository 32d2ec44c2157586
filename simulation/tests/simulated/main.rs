//! What every change has to pass. `make prove` runs as many seeds as one likes.

mod planted;
mod seeds;
